"""prepared train and val splits, balance plan → best hyperparameters and trials of a search.

A search has three parts. All trials are trained as far as their first rung. The best of them go on
to their last epoch. The best of these are confirmed: they and trial 0, the values in params.yaml,
are trained on several folds, and the confirmed values decide. Trials only report metrics, and their
models are not kept. So they get no temperature, unlike the model of the stage `train`.

The state of a search is in a database in .fovea/search. A search that was stopped goes on, under
the same run in MLflow, if nothing has changed that decides its trials.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import pandas as pd

from components.errors import UserError
from components.params.balance import Balance
from components.params.hyperparameters import Hyperparameters
from components.params.model import Model
from components.params.search import Search
from components.params.train import Train
from components.search.choice import NO_SEARCH, Outcome, choose_trial
from components.search.coordinator import SPENT, Coordinator
from components.search.executor import LocalWorkers
from components.search.folds import val_to_train
from components.search.importances import importance_sentence, measure_importances
from components.search.live import LiveReport
from components.search.overview import note_outcome, read_speed
from components.search.page import search_page
from components.search.plots import draw_trials
from components.search.rungs import Rungs
from components.search.trial import Course, Trial
from components.search.workload import parts
from components.tracking.runs import (
    RUN_NAME,
    Run,
    RunBelow,
    add_finished_run,
    continue_run,
    run_title,
    runs_below,
    start_run,
)
from components.tracking.system_metrics import system_metrics
from pipelines import artifacts
from pipelines.formats import write_table, write_text, write_tree
from pipelines.search_on_prefect import PrefectWorkers
from pipelines.search_start import choose_workers, study_key
from pipelines.search_worker import folds, search_machine
from pipelines.training_data import read_training_data
from pipelines.workspace.lineage import origin
from pipelines.workspace.searches import (
    SavedSearch,
    begin_search,
    has_database,
    last_search,
    make_newest,
)

log = logging.getLogger(__name__)

TRIAL = "search_trial"  # the tag of a trial's run in MLflow
CONTENT = "content"  # the tag of a trial's run with a hash of what it shows
RUN = "mlflow_run"  # the attribute of the study: the run of the search in MLflow


def run(model: Model, train: Train, search: Search, balance: Balance) -> None:
    """Run the search that params.yaml describes, and write its results.

    With `search.trials: 0` there is no search, and training uses the values in params.yaml.
    With more trials, UserError is raised if an earlier stage has not run, if weights are missing,
    if MLflow does not answer, or if no trial is completed.
    """
    written = Hyperparameters(model=model, train=train)
    if search.trials:
        outcome = _search(written, search, balance)
    else:
        outcome = NO_SEARCH
        log.info("no search, because search.trials is 0; training uses the values in params.yaml")
    write_results(outcome, search, written.train.seed)


def write_results(outcome: Outcome, search: Search, seed: int) -> None:
    """Write the chosen hyperparameters, the tables and the charts. seed: of the importances."""
    importances = measure_importances(outcome.trials, search.quality, search.space, seed)
    sentences = list(outcome.sentences)
    if outcome.trials:
        sentences.append(importance_sentence(importances))
    for sentence in sentences:
        log.info(sentence)
    write_tree(artifacts.HYPERPARAMETERS, outcome.overrides)
    write_table(artifacts.TRIALS, trial_table(outcome.trials, search))
    shares = pd.DataFrame(importances.shares.items(), columns=["hyperparameter", "share"])
    write_table(artifacts.IMPORTANCES, shares)
    write_text(
        artifacts.STUDY_PLOT,
        draw_trials(outcome.trials, search.directions, search.space, outcome.number),
    )
    page = search_page(
        outcome.trials,
        search.directions,
        search.space,
        outcome.number if outcome.trials else None,
        sentences,
        importances,
        outcome.means,
    )
    write_text(artifacts.STUDY_PAGE, page)


def _search(written: Hyperparameters, search: Search, balance: Balance) -> Outcome:
    """Run or continue the search."""
    guess_s = _guess(written)
    key = study_key(written, search)
    with begin_search(key, search_machine(), search, written, balance) as study:
        workers = choose_workers(os.environ, written, search, study.folder)
        directions = [search.directions[name] for name in search.objectives]
        rungs = Rungs.create(study.url, study.study, directions)
        try:
            rungs.first.hold()
            make_newest(study, key)
            with _tracked(rungs, study) as parent:
                return _run_rungs(rungs, study, balance, workers, parent, guess_s)
        finally:
            rungs.close()


def _run_rungs(
    rungs: Rungs,
    study: SavedSearch,
    balance: Balance,
    workers: LocalWorkers | PrefectWorkers,
    parent: Run,
    guess_s: float | None,
) -> Outcome:
    """Run the rungs of a search to their end, and choose a trial. parent: its run in MLflow."""
    search, written = study.search, study.written
    known = runs_below(parent, TRIAL)

    def on_trial(trial: Trial, course: Course) -> None:
        _record(parent, known.get(str(trial.number)), written, search, trial, course)

    if finished := sum(row.state.is_finished() for row in rungs.first.trials()):
        log.info(f"the search goes on: {finished} of {search.trials} trials were finished before")
    with system_metrics(parent), workers:
        report = LiveReport(
            parts(search, written),
            workers.count,
            search.quality,
            search.minutes,
            guess_s,
            spent_s=rungs.first.noted(SPENT) or 0.0,
        )
        coordinator = Coordinator(rungs, search, written, workers, on_trial, report.update)
        # Local workers of an earlier process have ended with it. Those on other machines may still
        # live, so the coordinator watches them instead.
        if isinstance(workers, LocalWorkers):
            rungs.release()
        with report.shown():
            coordinator.find()
            trials = coordinator.confirm(search.confirm.folds)
        coordinator.settle()
        coordinator.end("it is finished")
    ratio = _val_to_train(trials, written, search, balance)
    outcome = choose_trial(trials, coordinator.best(), search, ratio, coordinator.early_end)
    note_outcome(rungs, outcome.number, outcome.sentences)
    parent.log_metrics({"trials": len(trials), **outcome.metrics})
    parent.set_tags({"best_trial": str(outcome.number)})
    return outcome


def _guess(written: Hyperparameters) -> float | None:
    """Return how many seconds an epoch took in the last search, if it was one of this model."""
    with suppress(UserError):  # A damaged search is no reason not to begin another one.
        saved = last_search()
        if saved and saved.written.model == written.model and has_database(saved):
            return read_speed(saved.url, saved.study, saved.search, saved.written)
    return None


def _val_to_train(
    trials: list[Trial], written: Hyperparameters, search: Search, balance: Balance
) -> float:
    """Return how many val images there are for each train image on the folds; 0 without folds."""
    if not any(trial.confirmed for trial in trials):
        return 0.0
    return val_to_train(folds(read_training_data(), search, written.train.seed, balance))


@contextmanager
def _tracked(rungs: Rungs, study: SavedSearch) -> Iterator[Run]:
    """Yield the run of the search in MLflow, that of its earlier part if there is one."""
    known = rungs.first.noted(RUN)
    if known and Run(known).exists():
        with continue_run(known) as parent:
            yield parent
        return
    tags = {"stage": "search", "study_id": study.study}
    source = origin()
    with start_run("search", source, tags) as parent:
        title = run_title(study.written.model.backbone, source)
        parent.set_tags({RUN_NAME: f"search: {title}"})
        rungs.first.note(RUN, parent.id)
        seed, search = study.written.train.seed, study.search.model_dump()
        parent.log_params({"train.seed": seed, "search": search})
        yield parent


def _record(
    parent: Run,
    before: RunBelow | None,
    written: Hyperparameters,
    search: Search,
    trial: Trial,
    course: Course,
) -> None:
    """Write a trial that goes no further as a run below the run of the search.

    before: the run of this trial that an earlier process has written. If the trial has gone further
    since then, the new run replaces it.
    """
    # The curve of the quality has its own name in MLflow, which shows the last point of a curve.
    values = {f"best_{name}": value for name, value in trial.values.items()}
    confirmed = {f"confirmed_{n}": value for n, value in enumerate(trial.confirmed)}
    tags = {
        "stage": "search",
        TRIAL: str(trial.number),
        "state": trial.state,
        "worker": course.worker,
        "attempts": str(course.attempts),
        **({"note": trial.note} if trial.note else {}),
    }
    shown: dict[str, Any] = {
        "params": written.with_overrides(trial.overrides).model_dump(),
        "curves": {search.quality: dict(course.curve)},
        "metrics": {**values, **confirmed, "seconds": course.seconds, "epochs": trial.epochs},
        "status": "FAILED" if trial.state == "failed" else "FINISHED",
    }
    text = json.dumps([tags, shown], sort_keys=True, default=str)
    content = hashlib.sha256(text.encode()).hexdigest()
    if before and before.tags.get(CONTENT) == content:
        return
    add_finished_run(
        f"trial {trial.number}",
        origin(),
        {**tags, CONTENT: content},
        parent,
        **shown,
        times_ms=(_unix_ms(course.began), _unix_ms(course.ended)),
        replaces=before,
    )


def _unix_ms(time: datetime) -> int:
    """Return a local time as MLflow has it."""
    return int(1000 * time.timestamp())


def trial_table(trials: Sequence[Trial], search: Search) -> pd.DataFrame:
    """Return a row for each trial. A hyperparameter that a trial did not choose has no value."""
    rows = [
        {"trial": trial.number, "state": trial.state, "epochs": trial.epochs}
        | dict(trial.values)
        | ({"confirmed": sum(trial.confirmed) / len(trial.confirmed)} if trial.confirmed else {})
        | trial.overrides
        for trial in trials
    ]
    columns = ["trial", "state", "epochs", *search.objectives, "confirmed", *search.space]
    # With the dtype object, a column of integers of which one is missing has no floats.
    return pd.DataFrame(rows, columns=columns, dtype=object)
