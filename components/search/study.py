"""A search space and an objective → trials, the best of them first found again after a crash.

The study is an sqlite file named by everything that decides its outcome, so an interrupted search
goes on where it stopped and no other one is mistaken for it. Trial n is drawn by a sampler seeded
with n, so a search that was interrupted tries what an undisturbed one would have tried.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.search import Search
from components.search.space import Overrides, suggest, written_point
from components.training.training import TrainingFailedError

log = logging.getLogger(__name__)

# What is wrong with a trial alone; a lost tracking server or missing weights end the study.
FAILURES = (TrainingFailedError, MemoryError)


class Pruned(Exception):  # noqa: N818 - not an error
    """Raised inside an objective whose trial does worse than the median of those before."""


@dataclass(frozen=True)
class Trial:
    """A finished trial. state: complete, pruned or failed; value: None where it failed."""

    number: int
    state: str
    value: float | None
    overrides: Overrides


Report = Callable[[int, float], None]
Objective = Callable[[int, Overrides, Report], float]


def run_study(
    search: Search,
    written: Hyperparameters,
    objective: Objective,
    storage: Path,
    seed: int,
) -> list[Trial]:
    """Run trials until `search.trials` are finished, those of an interrupted run included.

    objective(number, overrides, report) trains and returns the value to maximize; it calls
    report(epoch, value), which raises Pruned. TrainingFailedError (such as a loss that is no
    number) or a lack of memory fails the trial, not the study.
    storage: the sqlite file, made where it is missing.
    """
    from optuna.trial import TrialState

    study = _open_study(search, storage)
    _close_abandoned(study)
    point = written_point(search.space, written)
    while (number := len(_finished(study))) < search.trials:
        study.sampler = _sampler(search, seed + number)
        if number == 0 and point and not study.get_trials(states=(TrialState.WAITING,)):
            study.enqueue_trial(point)  # what is written is the score to beat
        study.optimize(
            lambda trial, number=number: _run_trial(trial, number, search, written, objective),
            n_trials=1,
            catch=FAILURES,
        )
        log.info(f"{_sentence(_finished(study)[-1])} ({number + 1} of {search.trials})")
    return _finished(study)


def best_trial(trials: list[Trial]) -> Trial:
    """Return the complete trial of the highest value, the earlier one of equals.

    Raises UserError where no trial is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        raise UserError(
            "no trial of the search came to its end; narrow search.space to values that can be "
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
    """Tree-structured Parzen estimator (Bergstra et al., 2011)."""
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

    def report(epoch: int, value: float) -> None:
        trial.report(value, epoch)
        if trial.should_prune():
            raise Pruned

    try:
        return objective(number, suggest(trial, search.space, written), report)
    except Pruned:
        raise optuna.TrialPruned from None
    except FAILURES as error:
        trial.set_user_attr("failure", str(error))
        raise


def _close_abandoned(study: Any) -> None:
    """Close trials that a killed process left running."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _finished(study: Any) -> list[Trial]:
    """Return the trials that count: a failed one only where the failure was its own.

    Optuna also calls those failed that Ctrl-C or a kill ended.
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


def _sentence(trial: Trial) -> str:
    value = "" if trial.value is None else f" with {trial.value:.4f}"
    return f"trial {trial.number} {trial.state}{value}"
