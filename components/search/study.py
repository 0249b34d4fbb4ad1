"""A search space and an objective → the trials of an Optuna study, which continues after a crash.

Guarantee: a search tries the same values whether it was interrupted or not. The values of trial n
depend only on `seed + n` and on the results of the earlier trials. An sqlite file keeps these
results. The caller names the file by a hash of everything that decides the results, so a search
with other params, data or code has another file.
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

# These errors fail only the trial. Any other error, such as a lost tracking server, ends the study.
FAILURES = (TrainingFailedError, MemoryError)


class Pruned(Exception):  # noqa: N818 - not an error
    """Raised by `on_value` if the trial is worse than the median of the earlier trials."""


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    state: `complete`, `pruned` or `failed`. value: None if the trial failed. overrides: the values
    that it tried, by dotted name.
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

    Trials that an interrupted run finished count as well.
    written: the values in params.yaml, which are the first trial if they are in the search space.
    objective(number, overrides, on_value) trains and returns the value to maximize. After each
    epoch it calls on_value(epoch, value). That raises Pruned if the trial is worse than the median
    of the earlier trials. If the objective raises TrainingFailedError (for example because the loss
    is NaN) or MemoryError, the trial fails and the study continues.
    storage: the sqlite file; it is created if it is missing.
    """
    from optuna.trial import TrialState

    study = _open_study(search, storage)
    _close_abandoned_trials(study)
    as_written = values_as_written(search.space, written)
    while (number := len(_finished_trials(study))) < search.trials:
        study.sampler = _sampler(search, seed + number)
        # Trial 0 shows what the values in params.yaml reach without a search.
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
    """Return the complete trial with the highest value; if values are equal, the earliest trial.

    Raises UserError if no trial is complete.

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
    """Build a tree-structured Parzen estimator (Bergstra et al., 2011)."""
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
    """Mark trials as failed if they are in the state RUNNING, since their process was killed."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _finished_trials(study: Any) -> list[Trial]:
    """Return the trials that are complete, pruned, or failed by an error of `FAILURES`.

    If Ctrl-C or a kill ended a trial, Optuna also marks it as failed. Such a trial is left out
    here, so it runs again.
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
