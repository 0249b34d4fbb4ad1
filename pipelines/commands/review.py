"""What the registry knows of challenger and champion → tables for a reviewer."""

import json
from collections.abc import Iterator, Sequence

from components.evaluation.comparison import Comparison
from components.evaluation.gate import Verdict
from components.registry.promotion import history
from components.registry.record import Event, champions
from components.registry.versions import Version, challenger, champion
from components.tracking.connection import address, connect
from pipelines.commands.console import COLOURS, interval, show_lines, show_table

CLASSES_SHOWN = 30


def show_review(name: str) -> None:
    """Print challenger beside champion, metric by metric, the verdict, and what can be done."""
    connect()
    proposed, reigning = challenger(name), champion(name)
    if proposed is None:
        standing = f"version {reigning.number} is the champion" if reigning else "no champion yet"
        show_lines(f"{name} has no challenger; {standing}. `dvc repro` registers the next one.")
        return
    text = proposed.run.read_text(f"register/{name}/verdict.json")
    verdict = None if text is None else Verdict.from_tree(json.loads(text))
    if verdict is not None:
        _show_comparison(proposed, verdict)
    decision = proposed.tags.get("verdict", "none")
    reasons = verdict.reasons if verdict else [proposed.tags.get("reasons", "")]
    show_lines(f"verdict: {decision}", style=COLOURS.get(decision, ""))
    show_lines(*(f"  {reason}" for reason in reasons))
    show_lines(*_warnings(proposed, reigning, verdict is not None), style="yellow")
    show_lines(*_next_commands(proposed.number, decision))


def show_event(name: str, event: Event) -> None:
    """Print what a decision changed."""
    now = "no version" if event.to_version is None else f"version {event.to_version}"
    stays = "stays" if event.from_version == event.to_version else "is now"
    done = {
        "promote": f"promoted version {event.version}",
        "reject": f"rejected version {event.version}",
        "rollback": f"rolled back version {event.version}",
    }
    show_lines(f"{done[event.kind]} of {name}; {now} {stays} the champion")


def show_history(name: str) -> None:
    """Print the record, oldest first, and whether the alias still is where the record ends."""
    connect()
    record = history(name)
    if not record:
        show_lines(f"nobody has promoted, rejected or rolled back any version of {name} yet")
        return
    columns = ("when (UTC)", "who", "what", "champion", "why")
    show_table(f"{name} at {address()}", columns, map(_history_row, record))
    reigning = champion(name)
    held, recorded = reigning.number if reigning else None, champions(record)[-1]
    if held != recorded:
        show_lines(
            f"the alias champion is on {_called(held)}, but the record ends with "
            f"{_called(recorded)}: a decision was interrupted, or the alias was moved by hand; "
            "the next promote, reject or rollback sets it right",
            style="yellow",
        )


def _show_comparison(proposed: Version, verdict: Verdict) -> None:
    against = proposed.tags.get("compared_with", "none")
    percent = f"{100 * verdict.confidence:g} %"
    columns = ["metric", f">challenger: version {proposed.number}"]
    columns += [f">champion: version {against}", ">difference"] * (against != "none")
    rows = [
        [row.title, interval(row.challenger)]
        + [interval(row.champion), interval(row.difference, signed=True)] * (against != "none")
        for row in _most_telling(verdict.comparison)
    ]
    title = f"{proposed.name}: {verdict.images} test images, {percent} intervals"
    show_table(title, columns, rows)
    hidden = len(verdict.comparison) - len(rows)
    if hidden:
        show_lines(f"and {hidden} more classes, whose recall changed less for the worse")


def _next_commands(number: int, decision: str) -> tuple[str, str, str]:
    """Name what the verdict advises first."""
    promote, reject = f"fovea promote {number}", f'fovea reject {number} --reason "…"'
    if decision == "reject":
        choices = (reject, f'{promote} --override --reason "…"')
    else:
        choices = (f'{promote} --reason "…"', reject)
    return f"next: {choices[0]}", f"  or: {choices[1]}", f"      fovea explain {number}"


def _most_telling(rows: Sequence[Comparison]) -> list[Comparison]:
    """Keep the metrics of the whole, and of the classes those that lost most, in their order."""
    classes = [row for row in rows if row.class_name is not None]
    kept = sorted(classes, key=_loss)[:CLASSES_SHOWN]
    return [row for row in rows if row.class_name is None or row in kept]


def _loss(row: Comparison) -> float:
    found = row.difference or row.challenger
    return float("inf") if found.value is None else found.value


def _warnings(proposed: Version, reigning: Version | None, compared: bool) -> Iterator[str]:
    now = str(reigning.number) if reigning else "none"
    then = proposed.tags.get("compared_with", "none")
    if not compared:
        yield "the figures behind the verdict are no longer with the run of the model"
    if reigning is not None and reigning.number == proposed.number:
        yield "the challenger is the champion itself"
    elif now != then:
        yield (
            f"the verdict compares with {_spoken(then)}, and now {_spoken(now)} is the champion: "
            "`dvc repro --force --single-item register` judges anew"
        )


def _spoken(number: str) -> str:
    return "no champion" if number == "none" else f"version {number}"


def _called(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"


def _history_row(event: Event) -> tuple[str, ...]:
    notes = " (superseded)" * event.superseded + " (override)" * event.override
    moved = f"{event.from_version or '–'} → {event.to_version or '–'}"
    when = event.when.removesuffix("+00:00").replace("T", " ")
    return (when, event.who, f"{event.kind} {event.version}{notes}", moved, event.why)
