"""A search space and an objective → the trials of an Optuna study.

Guarantee: a search that was interrupted and started again tries the same values as a search that
was not interrupted. The reason is that the values of trial n depend only on the search space, on
`seed + n` and on the results of the earlier trials. These results are stored in an sqlite file. The
caller puts a hash of the params, the data and the code into the name of the file. So if any of them
changes, the search uses another file and starts at trial 0.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.search import Search
from components.search.space import Overrides, suggest, values_as_written
from components.training.training import TrainingFailedError

log = logging.getLogger(__name__)

# If one of these errors is raised, only the trial fails. Any other error ends the study. An example
# is the error that is raised if the tracking server cannot be reached.
FAILURES = (TrainingFailedError, MemoryError)


class Pruned(Exception):  # noqa: N818 - not an error
    """Raised by the function `on_value` if the trial must stop early, see `run_study`."""


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    number: the position of the trial in the list of all finished trials; the first trial is 0.
    state: `complete`, `pruned` (stopped early) or `failed`.
    value: the value to maximize. If the trial is pruned, it is the value of the trial's last epoch.
        It is None if the trial failed.
    overrides: the hyperparameters that the trial used, a dict from dotted names to values.
    """

    number: int
    state: str
    value: float | None
    overrides: Overrides


OnValue = Callable[[int, float], None]
Objective = Callable[[int, Overrides, OnValue], float]


def run_study(
    search: Search,
    written: Hyperparameters,
    objective: Objective,
    storage: Path,
    seed: int,
) -> list[Trial]:
    """Run trials until `search.trials` trials are finished, and return all finished trials.

    If an earlier run was interrupted, its finished trials are also counted and returned.

    search: the section `search` of params.yaml. written: the hyperparameters in params.yaml. If
    these values are in the search space, trial 0 uses them. storage: the path of the sqlite file;
    the file is created if it is missing. seed: the seed of trial n is seed + n.

    objective: a function that is called as objective(number, overrides, on_value). It trains a
    classifier and returns the value to maximize. During training it calls on_value(epoch, value)
    after an epoch. The function on_value raises Pruned if the best value of the trial until now is
    below the median of the values that earlier trials had at the same epoch. No trial is pruned
    before `search.startup_trials` trials are complete. If the objective raises TrainingFailedError
    (for example because the loss is NaN) or MemoryError, the trial fails and the study continues.
    """
    from optuna.trial import TrialState

    study = _open_study(search, storage)
    _close_abandoned_trials(study)
    as_written = values_as_written(search.space, written)
    while (number := len(_finished_trials(study))) < search.trials:
        study.sampler = _sampler(search, seed + number)
        # Trial 0 uses the values in params.yaml if they are in the search space. So it is possible
        # to see which of the other trials are better than the values in params.yaml.
        if number == 0 and as_written and not study.get_trials(states=(TrialState.WAITING,)):
            study.enqueue_trial(as_written)
        study.optimize(
            lambda trial, number=number: _run_trial(trial, number, search, written, objective),
            n_trials=1,
            catch=FAILURES,
        )
        log.info(f"{_in_words(_finished_trials(study)[-1])} ({number + 1} of {search.trials})")
    return _finished_trials(study)


def best_trial(trials: list[Trial]) -> Trial:
    """Return the complete trial with the highest value.

    If several trials have this value, the earliest of these trials is returned.
    Raises UserError if no trial is complete.

    In the example trial 1 has the higher value, but it is not complete:

    >>> best_trial([Trial(0, "complete", 0.8, {}), Trial(1, "pruned", 0.9, {})]).number
    0
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        raise UserError(
            "no trial of the search is complete; narrow search.space to values that can be "
            f"trained. Received: {len(trials)} failed or pruned trials"
        )
    return max(complete, key=lambda trial: (trial.value, -trial.number))


def _open_study(search: Search, storage: Path) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage.parent.mkdir(parents=True, exist_ok=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=search.startup_trials, n_warmup_steps=1)
    return optuna.create_study(
        storage=f"sqlite:///{storage}",
        study_name="search",
        direction="maximize",
        pruner=pruner,
        load_if_exists=True,
    )


def _sampler(search: Search, seed: int) -> Any:
    """Return the part of Optuna that chooses the values of a trial.

    It is a tree-structured Parzen estimator, TPE (Bergstra et al., 2011).
    """
    import optuna

    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.startup_trials)


def _run_trial(
    trial: Any,
    number: int,
    search: Search,
    written: Hyperparameters,
    objective: Objective,
) -> float:
    import optuna

    def on_value(epoch: int, value: float) -> None:
        trial.report(value, epoch)
        if trial.should_prune():
            raise Pruned

    try:
        return objective(number, suggest(trial, search.space, written), on_value)
    except Pruned:
        raise optuna.TrialPruned from None
    except FAILURES as error:
        trial.set_user_attr("failure", str(error))
        raise


def _close_abandoned_trials(study: Any) -> None:
    """Mark every trial in the state RUNNING as failed.

    This is called before the first trial of a run. So a trial in this state is from an earlier run
    whose process was killed.
    """
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _finished_trials(study: Any) -> list[Trial]:
    """Return the trials that are complete, are pruned, or failed by an error of `FAILURES`.

    If a trial was ended by another error, by Ctrl-C or by a kill of the process, it is also marked
    as failed in the sqlite file. Such a trial is left out here, so it runs again.
    """
    trials = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in ("COMPLETE", "PRUNED") or "failure" in trial.user_attrs
    ]
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    return [
        Trial(number, states[trial.state.name], trial.value, dict(trial.params))
        for number, trial in enumerate(trials)
    ]


def _in_words(trial: Trial) -> str:
    value = "" if trial.value is None else f" with {trial.value:.4f}"
    return f"trial {trial.number} {trial.state}{value}"
