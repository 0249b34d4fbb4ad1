"""The registry's challenger, champion and decisions → tables or JSON for a reviewer.

The champion is the version with the alias `champion`. The challenger is the version that may
replace the champion. The verdict is the advice to promote, hold or reject the challenger.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

from components.evaluation.comparison import Comparison
from components.evaluation.gate import Verdict
from components.registry.descriptions import describe
from components.registry.hand_moves import champion_warning, note_hand_move
from components.registry.objections import Judge, review_objections
from components.registry.record import Event, champions, moved_by_hand
from components.registry.record_words import COLUMNS, decision_text, event_row, when_text
from components.registry.snapshot import (
    Snapshot,
    keep_snapshot,
    read_snapshot,
    waiting_for_mlflow,
)
from components.registry.versions import COMPARED_WITH, Version
from components.review import ways
from components.review.facts import has_new_classes, worst_first
from components.review.figures import interval_text
from components.tracking.connection import address
from components.words import count_text
from pipelines.commands import workspace_model
from pipelines.commands.console import (
    COLOURS,
    show_json,
    show_lines,
    show_table,
    show_waiting,
)

CLASSES_SHOWN = 30
REGISTER = "fovea register"
# A second clone has the model, but an empty registry. There `dvc repro` runs nothing.
NO_VERSION = (
    "{name} has no challenger; no champion yet, because {address} has no version of it. If your "
    "team has an MLflow server, set MLFLOW_TRACKING_URI to its address. Otherwise `fovea register` "
    "registers the model of this workspace."
)


@dataclass(frozen=True)
class Review:
    """What a reviewer needs to decide on the challenger.

    challenger: the version. champion: the version with the alias `champion`, or None. decision: the
    verdict on the challenger, or `none`. reasons: the reasons of the verdict. verdict: the complete
    verdict; None if the MLflow run of the challenger no longer has it. warnings: what a reviewer
    must know beside the verdict. commands: the commands to choose from.
    """

    challenger: Version
    champion: Version | None
    decision: str
    reasons: tuple[str, ...]
    verdict: Verdict | None
    warnings: tuple[str, ...]
    commands: tuple[str, ...]


def judge_here(version: Version, champion: Version | None) -> Verdict | None:
    """Compare a version with a champion on the test images of this folder; keep the verdict.

    champion: None if there is no champion. Returns None if the test images are not here. Raises
    UserError if a version cannot be loaded or cannot predict.
    """
    # The import takes seconds, and a judgement is rare.
    from pipelines.register import judge_again

    against = f"version {champion.number}" if champion else "the minimum scores"
    show_waiting(f"comparing version {version.number} with {against} on the test images")
    return judge_again(version, version.name, champion)


def read_registry(name: str, *, as_json: bool = False) -> Snapshot:
    """Return the registered model as it is now. A move of the alias by hand is put on record first.

    name: the name of the registered model. as_json: log messages go to stderr, because standard
    output is only for JSON. Raises UserError if MLflow does not answer.
    """
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        registry = read_snapshot(name, show_waiting)
        if not moved_by_hand(registry.record, registry.standing.held):
            return registry
        note_hand_move(name, judge_here)
        describe(name)
        return keep_snapshot(name)


def take_decision(name: str, decide: Callable[[Judge], Event]) -> None:
    """Decide on a version of the registered model `name`, and print what was decided.

    decide: a function that decides; its argument is the function that judges a version again.
    Raises UserError if MLflow does not answer, or if the decision is refused.
    """
    show_waiting(waiting_for_mlflow())
    show_event(name, decide(judge_here))
    show_warning(keep_snapshot(name))


def show_warning(registry: Snapshot) -> None:
    """Print a warning if the champion is doubtful; see `champion_warning`."""
    show_lines(*filter(None, [champion_warning(registry.standing)]), style="yellow")


def show_review(name: str, *, as_json: bool = False) -> None:
    """Print the metrics of challenger and champion, the verdict, and commands to type next.

    name: the name of the registered model. as_json: print JSON; docs/reviewing.md has its keys.
    Raises UserError if MLflow does not answer.
    """
    registry = read_registry(name, as_json=as_json)
    review = _review(registry)
    if as_json:
        show_json(_review_tree(registry, review))
    elif review is not None:
        _show_review(review)
    else:
        show_lines(_no_challenger(registry))
        show_warning(registry)


def _review(registry: Snapshot) -> Review | None:
    """Return the review of the challenger; None if there is no challenger."""
    proposed = registry.challenger
    if proposed is None:
        return None
    text = registry.verdict
    verdict = None if text is None else Verdict.from_tree(json.loads(text))
    decision = proposed.tags.get("verdict", "none")
    reasons = verdict.reasons if verdict else (proposed.tags.get("reasons", ""),)
    warnings = (
        *_warnings(registry, proposed, verdict is not None),
        *workspace_model.warnings(registry.name, registry.versions),
    )
    commands = decision_commands(registry, proposed)
    return Review(proposed, registry.champion, decision, reasons, verdict, warnings, commands)


def _no_challenger(registry: Snapshot) -> str:
    name, reigning = registry.name, registry.champion
    if not registry.versions:
        return NO_VERSION.format(name=name, address=address())
    standing = f"version {reigning.number} is the champion" if reigning else "no champion yet"
    if reigning is None and _earlier(registry):
        standing = "no champion now, but earlier ones: `fovea rollback` goes back to the last one"
    return (
        f"{name} has no challenger; {standing}. After a change, `dvc repro` registers the next "
        "challenger. `fovea register` registers the model that is in this workspace now."
    )


def _earlier(registry: Snapshot) -> bool:
    """Return True if a version that still exists was the champion once."""
    return any(version.number in champions(registry.record) for version in registry.versions)


def _show_review(review: Review) -> None:
    if review.verdict is not None:
        _show_comparison(review.challenger, review.verdict)
    show_lines(f"verdict: {review.decision}", style=COLOURS.get(review.decision, ""))
    show_lines(*(f"  {reason}" for reason in review.reasons))
    show_lines(*review.warnings, style="yellow")
    first, *others, last = review.commands
    show_lines(f"next: {first}", *(f"  or: {other}" for other in others), f"      {last}")


def _review_tree(registry: Snapshot, review: Review | None) -> dict[str, Any]:
    """Return the review as JSON; without a challenger, `challenger` and `verdict` are None.

    If there is no version at all, `warnings` has the sentence that the command prints otherwise.
    """
    lost = registry.champion is None and _earlier(registry)
    empty = [] if registry.versions else [_no_challenger(registry)]
    tree: dict[str, Any] = {
        "name": registry.name,
        "store": address(),
        "champion": _version_tree(registry.champion),
        "challenger": _version_tree(registry.challenger),
        "verdict": None,
        "warnings": [*filter(None, [champion_warning(registry.standing)]), *empty],
        "next": [ways.ROLLBACK, REGISTER] if lost else [REGISTER],
    }
    if review is None:
        return tree
    verdict = {"decision": review.decision, "reasons": list(review.reasons)}
    details = {} if review.verdict is None else review.verdict.to_tree()
    against = review.challenger.tags.get(COMPARED_WITH, "none")
    compared = {"compared_with": None if against == "none" else int(against)}
    tree["verdict"] = {**details, **verdict, **compared}
    return {**tree, "warnings": list(review.warnings), "next": list(review.commands)}


def _version_tree(version: Version | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return {
        "version": version.number,
        "model_id": version.model_id,
        "verdict": version.tags.get("verdict"),
        "review": version.tags.get("review"),
    }


def show_event(name: str, event: Event) -> None:
    """Print a decision about a version, and which version is the champion after the decision.

    name: the name of the registered model. event: the decision.
    """
    stays = "stays" if event.from_version == event.to_version else "is now"
    now = f"{_version(event.to_version)} {stays} the champion"
    back = "went back to" if event.version == event.to_version else "rolled back"
    done = {
        "promote": f"promoted version {event.version}",
        "reject": f"rejected version {event.version}",
        "rollback": f"{back} version {event.version}",
    }
    there = now if event.to_version is not None else "there is no champion"
    show_lines(f"{done[event.kind]} of {name}; {there}")
    if event.overridden:
        show_lines(f"overridden, and on record: {event.overridden}", style="yellow")


def show_history(name: str, *, as_json: bool = False) -> None:
    """Print all decisions, oldest first.

    Also print a warning if the version with the alias `champion` is not the champion after the last
    decision. name: the name of the registered model. as_json: print JSON; docs/reviewing.md has its
    keys. Raises UserError if MLflow does not answer.
    """
    registry = read_registry(name, as_json=as_json)
    record = registry.record
    warnings = list(filter(None, [champion_warning(registry.standing)]))
    if as_json:
        events = [_event_tree(event) for event in record]
        champion = registry.standing.held
        tree = {"name": name, "store": address(), "champion": champion}
        show_json({**tree, "events": events, "warnings": warnings})
        return
    if not record:
        show_lines(f"no version of {name} was promoted, rejected or rolled back yet")
        return
    show_table(f"{name} at {address()}", COLUMNS, map(event_row, record))
    for event in record:
        if event.overridden:
            show_lines(f"{decision_text(event)} ({when_text(event)}), although {event.overridden}")
    show_lines(*warnings, style="yellow")


def _event_tree(event: Event) -> Mapping[str, Any]:
    """Return an event for JSON: its number and its fields, except what it is found by."""
    tree = asdict(event)
    kept = {name: tree[name] for name in tree if name not in ("key", "moved", "model_id")}
    return {"number": event.number, **kept}


def _show_comparison(proposed: Version, verdict: Verdict) -> None:
    against = proposed.tags.get(COMPARED_WITH, "none")
    percent = f"{100 * verdict.confidence:g} %"
    columns = ["metric", f">challenger: version {proposed.number}"]
    columns += [f">champion: version {against}", ">difference"] * (against != "none")
    rows = [
        [row.title, interval_text(row.challenger)]
        + [interval_text(row.champion), interval_text(row.difference, signed=True)]
        * (against != "none")
        for row in _rows_to_show(verdict.comparison)
    ]
    images = count_text(verdict.images, "test image")
    if has_new_classes(verdict.comparison):  # the first reason says how many images that are
        images = "test images of the classes that both models know"
    title = f"{proposed.name}: {images}, {percent} intervals"
    show_table(title, columns, rows)
    hidden = len(verdict.comparison) - len(rows)
    if hidden:
        show_lines(f"and {hidden} more classes, with better results than the classes above")


def decision_commands(registry: Snapshot, version: Version) -> tuple[str, ...]:
    """Return the commands to choose from. The first one does what the verdict advises.

    version: the challenger. If the model of this workspace is another one, decisions can be refused
    until it is registered. Then the first command registers it.
    """
    number, decision = version.number, version.tags.get("verdict", "none")
    explain = f"fovea explain {number}"
    if not workspace_model.takes_number(version, registry.versions):
        return REGISTER, explain
    if number == registry.standing.held:
        return "fovea history", explain
    declined = any(review_objections(version, registry.standing))
    return (*ways.commands(number, decision, declined=declined), explain)


def _rows_to_show(rows: Sequence[Comparison]) -> list[Comparison]:
    """Return the rows of all overall metrics, and of at most `CLASSES_SHOWN` classes.

    If there is a champion, the classes are the classes whose recall fell most compared with the
    champion's recall. Otherwise they are the classes with the lowest recall. The order of the rows
    stays.
    """
    worst = worst_first(rows)[:CLASSES_SHOWN]
    return [row for row in rows if row.class_name is None or row in worst]


def _warnings(registry: Snapshot, proposed: Version, compared: bool) -> Iterator[str]:
    reigning = registry.champion
    now = str(reigning.number) if reigning else "none"
    then = proposed.tags.get(COMPARED_WITH, "none")
    if warning := champion_warning(registry.standing):
        yield warning
    for objection in review_objections(proposed, registry.standing):
        yield f"the challenger is version {proposed.number}, but {objection}"
    if not compared:
        yield "MLflow's run of the model no longer has the metrics of the verdict"
    if reigning is not None and reigning.number == proposed.number:
        yield "the challenger is the champion itself"
    elif now != then:
        yield (
            f"the champion has changed since the verdict, from {_champion(then)} to "
            f"{_champion(now)}: `fovea promote` judges the challenger again before it promotes"
        )


def _champion(number: str) -> str:
    return "no champion" if number == "none" else f"version {number}"


def _version(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
