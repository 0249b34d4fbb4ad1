"""A search space and an objective → the trials of an Optuna study.

A trial trains one classifier. The objective is the function that trains it and returns a value,
such as the accuracy. A study is a list of trials. Optuna chooses the hyperparameters of each trial
from the search space, so that the value becomes as high as possible.

Guarantee: a search that was interrupted and started again tries the same hyperparameters as a
search that was not interrupted. The reason is that the hyperparameters of trial n depend only on
the search space, on `train.seed + n` and on the results of the earlier trials. These results are
stored in an sqlite file. The name of the file contains a hash of the params, the data and the code.
(The caller chooses this name.) So if the params, the data or the code change, the search uses
another file and starts at trial 0.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.search import Search
from components.search.space import Overrides, start_points, suggest
from components.training.limits import TrainingFailedError

log = logging.getLogger(__name__)

# If the objective raises one of these errors, the trial fails and the study continues. Any other
# error ends the study, for example the error that is raised if MLflow cannot be reached.
FAILURES = (TrainingFailedError, MemoryError)


class Pruned(Exception):  # noqa: N818 - not an error
    """The function `on_value` raises Pruned if the trial must stop early, see `run_study`."""


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    number: the position of the trial in the list of all finished trials; the first trial is 0.
    state: `complete`, `pruned` (stopped early) or `failed`.
    value: the value that the objective returned. If the trial is pruned, it is the value after the
        trial's last epoch. If the trial failed, it is None.
    overrides: the trial's hyperparameters, a dict from names (such as `model.dropout`) to values,
        without those whose condition `when` does not hold.
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
) -> list[Trial]:
    """Run trials until `search.trials` trials are finished, and return all finished trials.

    If an earlier run was interrupted, its finished trials are in the sqlite file. They are also
    counted and returned.

    search: the section `search` of params.yaml. written: the hyperparameters in params.yaml. If
    they are in the search space, trial 0 uses them. The trials after it use the points of
    `search.start`. objective: the objective, see below. storage: the path of the sqlite file; the
    file is created if it is missing. Optuna chooses the hyperparameters of all later trials; those
    of trial n with the seed `written.train.seed + n`.

    The objective is called as objective(number, overrides, on_value). It trains a classifier and
    returns the value to maximize. During training it calls on_value(epoch, value) after an epoch.
    The function on_value raises Pruned if the trial is worse than most earlier trials: its best
    value until now is below the median of the values of earlier trials at the same epoch. But no
    trial is pruned before `search.startup_trials` trials are complete. There is no warm-up: a trial
    can be pruned after its first epoch.

    If the objective raises TrainingFailedError (for example because the loss is NaN) or
    MemoryError, the trial fails and the study continues.
    """
    from optuna.trial import TrialState

    study = _open_study(search, storage)
    _close_abandoned_trials(study)
    points = start_points(search, written)
    while (number := len(_finished_trials(study))) < search.trials:
        study.sampler = _sampler(search, written.train.seed + number)
        # If the values in params.yaml are in the search space, trial 0 uses them. So the user can
        # see which trials are better than the values in params.yaml.
        if number < len(points) and not study.get_trials(states=(TrialState.WAITING,)):
            study.enqueue_trial(points[number])
        study.optimize(
            lambda trial, number=number: _run_trial(trial, number, search, written, objective),
            n_trials=1,
            catch=FAILURES,
        )
        newest = _finished_trials(study)[-1]
        log.info(f"{_in_words(newest)} ({number + 1} of {search.trials} trials)")
    return _finished_trials(study)


def best_trial(trials: list[Trial]) -> Trial:
    """Return the complete trial with the highest value.

    If several complete trials have the highest value, the earliest of them is returned. Raises
    UserError if no trial is complete.

    In the example, trial 1 has a higher value than trial 0, but trial 1 is not complete:

    >>> best_trial([Trial(0, "complete", 0.8, {}), Trial(1, "pruned", 0.9, {})]).number
    0
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        raise UserError(
            "no trial of the search is complete; remove from search.space the values with which "
            f"training fails. Received: {len(trials)} failed or pruned trials"
        )
    return max(complete, key=lambda trial: (trial.value, -trial.number))


def _open_study(search: Search, storage: Path) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage.parent.mkdir(parents=True, exist_ok=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=search.startup_trials)
    return optuna.create_study(
        # The path of the current folder may have characters with a meaning in addresses, such as ?.
        storage=f"sqlite:///{os.path.relpath(storage)}",
        study_name="search",
        direction="maximize",
        pruner=pruner,
        load_if_exists=True,
    )


def _sampler(search: Search, seed: int) -> Any:
    """Return Optuna's sampler, the object that chooses the hyperparameters of a trial.

    The sampler is a tree-structured Parzen estimator, TPE (Bergstra et al., 2011).
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

    overrides = suggest(trial, search.space, written)
    trial.set_user_attr("overrides", overrides)
    try:
        return objective(number, overrides, on_value)
    except Pruned:
        raise optuna.TrialPruned from None
    except FAILURES as error:
        log.warning(f"trial {number} failed: {error}")
        trial.set_user_attr("failure", str(error))
        raise


def _close_abandoned_trials(study: Any) -> None:
    """Mark every trial in the state RUNNING as failed.

    This function is called before the first trial of this process. So a trial in the state RUNNING
    is from an earlier process, which was killed.
    """
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _finished_trials(study: Any) -> list[Trial]:
    """Return the trials that are complete, are pruned, or failed with an error in `FAILURES`.

    A trial that was ended by another error, by Ctrl-C or by the end of the process is also marked
    as failed in the sqlite file. But this function does not return such a trial. So the trial does
    not count, and a new trial gets its number and its seed.
    """
    trials = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in ("COMPLETE", "PRUNED") or "failure" in trial.user_attrs
    ]
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    return [
        Trial(number, states[trial.state.name], trial.value, trial.user_attrs["overrides"])
        for number, trial in enumerate(trials)
    ]


def _in_words(trial: Trial) -> str:
    value = "" if trial.value is None else f", value {trial.value:.4f}"
    return f"trial {trial.number} {trial.state}{value}"
