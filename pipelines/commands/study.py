"""The newest search of this workspace → what it has found, what it does now, and how to end it."""

import math
from collections.abc import Iterator, Sequence

from components.errors import UserError
from components.search.overview import Overview, Running, read_overview, request_stop
from components.search.results import setting_text, value_text
from components.search.rungs import short_name
from components.search.tasks import Task
from components.search.trial import Trial
from components.training.phase_report import duration
from pipelines.commands.console import show_facts, show_lines, show_table
from pipelines.workspace.search_variables import STORAGE
from pipelines.workspace.searches import SavedSearch, has_database, is_running, last_search

BEST = 5  # trials that are listed


def show_study() -> None:
    """Print how the newest search of this workspace stands.

    Raises UserError if there was none, or if its database cannot be read.
    """
    saved = _find()
    alive = is_running(saved.folder)
    overview = read_overview(saved.url, saved.study, saved.search, saved.written)
    show_facts("search", dict(_facts(saved, overview, alive)))
    states = ("complete", "pruned", "failed", "running", "waiting")
    show_table(
        "rungs",
        ("rung", *(f">{state}" for state in states)),
        ((rung.name, *(str(getattr(rung, state)) for state in states)) for rung in overview.rungs),
    )
    _show_best(saved, overview)
    if overview.running:
        show_table(
            "running now" if alive else "were running when the search was interrupted",
            ("worker", ">trial", "training", ">attempt", ">for", "last value"),
            (
                (
                    run.worker,
                    str(run.task.trial),
                    _training(run.rung, run.task),
                    str(run.attempt),
                    duration(run.seconds),
                    _last_value(run),
                )
                for run in overview.running
            ),
        )
    if overview.troubles:
        show_table(
            "failed, or tried again",
            (">trial", "rung", "", "reason"),
            (
                (
                    str(trouble.trial),
                    short_name(trouble.rung),
                    "failed" if trouble.failed else "tried again",
                    trouble.reason,
                )
                for trouble in overview.troubles
            ),
        )
    show_lines(*overview.sentences)


def _last_value(run: Running) -> str:
    if run.last is None:
        return "–"
    epoch, value = run.last
    return f"{f'epoch {epoch}' if epoch >= 1 else 'head'}: {value:.4g}"


def stop_study() -> None:
    """End the newest search of this workspace in good order.

    Raises UserError if there was none, if it is over, or if its database cannot be written.
    """
    saved = _find()
    request_stop(saved.url, saved.study, "stopped by `fovea study stop`")
    if is_running(saved.folder):
        show_lines(
            "no further trial starts; when those that run are finished, the search ends, and "
            "training uses the best trial so far"
        )
    else:
        show_lines(
            "no process runs this search now; the next `dvc repro` starts no trial of it, and "
            "training uses the best trial so far"
        )


def _find() -> SavedSearch:
    saved = last_search()
    if saved is None:
        raise UserError(
            "no search was ever run here; write a number of trials into `search` of params.yaml, "
            "and run `dvc repro`. Received: no search in .fovea/search"
        )
    if not has_database(saved):
        raise UserError(
            "the search has no database here: it has not begun, its file was deleted, or it ran "
            f"with {STORAGE}; set this variable as for the search, or run `dvc repro` to search. "
            f"Received: {saved.url}"
        )
    return saved


def _facts(saved: SavedSearch, overview: Overview, alive: bool) -> Iterator[tuple[str, str]]:
    if alive:
        stop = overview.stop or overview.ended
        yield "state", f"running, and about to end: {stop}" if stop else "running"
    elif overview.ended and not overview.stop:
        yield "state", f"over: {overview.ended}"
    else:
        end = " to its end, without further trials" if overview.stop else ""
        yield "state", f"interrupted; `dvc repro` goes on with it{end}"
    yield "trials", f"{overview.rungs[0].complete} of {saved.search.trials} complete"
    if overview.chosen is not None and overview.ended:
        yield "training uses", f"trial {overview.chosen}"
    elif overview.ranked:
        best = overview.ranked[0]
        value = _trial(overview, best).values[saved.search.quality]
        yield "best so far", f"trial {best}, {saved.search.quality} {value:.4g}"
    yield "folder", str(saved.folder)


def _show_best(saved: SavedSearch, overview: Overview) -> None:
    numbers = list(dict.fromkeys([*overview.ranked[:BEST], *_chosen(overview)]))
    if not numbers:
        return
    objectives = saved.search.objectives
    show_table(
        f"best trials, of {len(overview.trials)}",
        (">trial", *(f">{name}" for name in objectives), ">epochs", "confirmed", "hyperparameters"),
        (
            (
                str(trial.number),
                *(_value(trial, name) for name in objectives),
                str(trial.epochs),
                _confirmed(trial.confirmed),
                "\n".join(f"{name}: {setting_text(of)}" for name, of in trial.overrides.items())
                or "as in params.yaml",
            )
            for trial in (_trial(overview, number) for number in numbers)
        ),
    )


def _chosen(overview: Overview) -> list[int]:
    known = {trial.number for trial in overview.trials}
    return [overview.chosen] if overview.chosen in known else []


def _trial(overview: Overview, number: int) -> Trial:
    return next(trial for trial in overview.trials if trial.number == number)


def _value(trial: Trial, objective: str) -> str:
    """Return a value as a text. The trial that training uses has none if it failed."""
    known = trial.values.get(objective)
    return "–" if known is None else value_text(objective, known)


def _confirmed(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = sum(values) / len(values)
    each = ", ".join(f"{value:.4g}" if math.isfinite(value) else "failed" for value in values)
    return f"{mean:.4g} ({each})" if math.isfinite(mean) else each


def _training(rung: str, task: Task) -> str:
    if task.fold is not None:
        return f"{short_name(rung)}, fold {task.fold}"
    until = {None: "all epochs", 0: "only the head"}.get(task.epochs, f"until epoch {task.epochs}")
    return f"{short_name(rung)}, {until}"
