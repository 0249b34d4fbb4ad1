"""The registry's challenger, champion and decisions → tables for a reviewer.

The champion is the version with the alias `champion`. The challenger is the version that may
replace the champion. The verdict is the advice to promote, hold or reject the challenger.
"""

import json
from collections.abc import Iterator, Sequence

from components.evaluation.comparison import Comparison
from components.evaluation.gate import Verdict
from components.registry.record import Event, champions
from components.registry.snapshot import read_snapshot
from components.registry.versions import Version
from components.tracking.connection import address
from pipelines.commands import workspace_model
from pipelines.commands.console import (
    COLOURS,
    interval_text,
    show_lines,
    show_table,
    show_waiting,
)

CLASSES_SHOWN = 30
# A second clone has the model, but an empty registry. There `dvc repro` runs nothing.
NO_VERSION = (
    "{name} has no challenger; no champion yet, because {address} has no version of it. If your "
    "team has an MLflow server, set MLFLOW_TRACKING_URI to its address. Otherwise `fovea register` "
    "registers the model of this workspace."
)


def show_review(name: str) -> None:
    """Print the metrics of challenger and champion, the verdict, and commands to type next.

    name: the name of the registered model. Raises UserError if MLflow does not answer.
    """
    registry = read_snapshot(name, show_waiting)
    proposed, reigning = registry.challenger, registry.champion
    if proposed is None:
        if not registry.versions:
            show_lines(NO_VERSION.format(name=name, address=address()))
            return
        standing = f"version {reigning.number} is the champion" if reigning else "no champion yet"
        show_lines(
            f"{name} has no challenger; {standing}. After a change, `dvc repro` registers the next "
            "challenger. `fovea register` registers the model that is in this workspace now."
        )
        return
    text = registry.verdict
    verdict = None if text is None else Verdict.from_tree(json.loads(text))
    if verdict is not None:
        _show_comparison(proposed, verdict)
    decision = proposed.tags.get("verdict", "none")
    reasons = verdict.reasons if verdict else [proposed.tags.get("reasons", "")]
    show_lines(f"verdict: {decision}", style=COLOURS.get(decision, ""))
    show_lines(*(f"  {reason}" for reason in reasons))
    show_lines(*_warnings(proposed, reigning, verdict is not None), style="yellow")
    show_lines(*workspace_model.warnings(name, registry.versions), style="yellow")
    show_lines(*_next_commands(proposed.number, decision))


def show_event(name: str, event: Event) -> None:
    """Print a decision about a version, and which version is the champion after the decision.

    name: the name of the registered model. event: the decision.
    """
    now = _version(event.to_version)
    stays = "stays" if event.from_version == event.to_version else "is now"
    done = {
        "promote": f"promoted version {event.version}",
        "reject": f"rejected version {event.version}",
        "rollback": f"rolled back version {event.version}",
    }
    show_lines(f"{done[event.kind]} of {name}; {now} {stays} the champion")


def show_history(name: str) -> None:
    """Print all decisions, oldest first.

    Also print a warning if the version with the alias `champion` is not the champion after the last
    decision. name: the name of the registered model. Raises UserError if MLflow does not answer.
    """
    registry = read_snapshot(name, show_waiting)
    record = registry.record
    if not record:
        show_lines(f"no version of {name} was promoted, rejected or rolled back yet")
        return
    columns = ("when (UTC)", "who", "what", "champion", "why")
    show_table(f"{name} at {address()}", columns, map(_history_row, record))
    reigning = registry.champion
    by_alias, by_record = reigning.number if reigning else None, champions(record)[-1]
    if by_alias != by_record:
        show_lines(
            f"the alias champion is on {_version(by_alias)}, but the record ends with "
            f"{_version(by_record)}: a decision was interrupted, or the alias was moved without "
            "fovea; the next promote, reject or rollback makes the alias and the record agree",
            style="yellow",
        )


def _show_comparison(proposed: Version, verdict: Verdict) -> None:
    against = proposed.tags.get("compared_with", "none")
    percent = f"{100 * verdict.confidence:g} %"
    columns = ["metric", f">challenger: version {proposed.number}"]
    columns += [f">champion: version {against}", ">difference"] * (against != "none")
    rows = [
        [row.title, interval_text(row.challenger)]
        + [interval_text(row.champion), interval_text(row.difference, signed=True)]
        * (against != "none")
        for row in _rows_to_show(verdict.comparison)
    ]
    title = f"{proposed.name}: {verdict.images} test images, {percent} intervals"
    show_table(title, columns, rows)
    hidden = len(verdict.comparison) - len(rows)
    if hidden:
        show_lines(f"and {hidden} more classes, with better results than the classes above")


def _next_commands(number: int, decision: str) -> tuple[str, str, str]:
    """Return three commands as lines. The first command does what the verdict advises.

    number: the number of the challenger. decision: the verdict, such as `reject`.
    """
    promote, reject = f"fovea promote {number}", f'fovea reject {number} --reason "…"'
    if decision == "reject":
        choices = (reject, f'{promote} --override --reason "…"')
    else:
        choices = (f'{promote} --reason "…"', reject)
    return f"next: {choices[0]}", f"  or: {choices[1]}", f"      fovea explain {number}"


def _rows_to_show(rows: Sequence[Comparison]) -> list[Comparison]:
    """Return the rows of all overall metrics, and of at most `CLASSES_SHOWN` classes.

    If there is a champion, the classes are the classes whose recall fell most compared with the
    champion's recall. Otherwise they are the classes with the lowest recall. The order of the rows
    stays.
    """
    classes = [row for row in rows if row.class_name is not None]
    worst = sorted(classes, key=_change)[:CLASSES_SHOWN]
    return [row for row in rows if row.class_name is None or row in worst]


def _change(row: Comparison) -> float:
    interval = row.difference or row.challenger
    return float("inf") if interval.value is None else interval.value


def _warnings(proposed: Version, reigning: Version | None, compared: bool) -> Iterator[str]:
    now = str(reigning.number) if reigning else "none"
    then = proposed.tags.get("compared_with", "none")
    if not compared:
        yield "MLflow's run of the model no longer has the metrics of the verdict"
    if reigning is not None and reigning.number == proposed.number:
        yield "the challenger is the champion itself"
    elif now != then:
        yield (
            f"the champion has changed since the verdict, from {_champion(then)} to "
            f"{_champion(now)}: `fovea register` makes a new verdict on the model of this workspace"
        )


def _champion(number: str) -> str:
    return "no champion" if number == "none" else f"version {number}"


def _version(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"


def _history_row(event: Event) -> tuple[str, ...]:
    notes = " (superseded)" * event.superseded + " (override)" * event.override
    champion_change = f"{event.from_version or '–'} → {event.to_version or '–'}"
    when = event.when.removesuffix("+00:00").replace("T", " ")
    return (when, event.who, f"{event.kind} {event.version}{notes}", champion_change, event.why)
