"""The versions and the record of a registered model → their descriptions on MLflow's page.

The description of a version says what it is (champion, challenger, rejected), how to decide on it,
and its verdict, figures and lineage. The description of the registered model has the history: which
version was the champion when, by whom, and why. Decisions change what they say, so each decision
writes them again. People may write into them, too: see components/review/description.py.
"""

import logging
from collections.abc import Iterator, Mapping

from components.errors import one_line
from components.pages.markdown import GAP, spaced_table, text
from components.registry.blessing import served_text
from components.registry.hand_moves import champion_warning
from components.registry.objections import is_outdated, judged_against, review_objections
from components.registry.record import Event, champions, last_decision
from components.registry.record_words import COLUMNS, event_row, when_text
from components.registry.standing import Standing, read_standing
from components.registry.versions import CHALLENGER, COMPARED_WITH, Version, versions
from components.review.description import (
    read_description,
    room_for_facts,
    tag_facts,
    write_description,
)
from components.review.facts import ModelFacts
from components.review.ways import ROLLBACK, commands, in_code
from components.tracking.connection import client

log = logging.getLogger(__name__)

LONGEST_WARNING = 400
LONGEST_WHY = 200
OLDER = "older: `fovea history` has all."
TRIES = 3


def describe(name: str, facts: Mapping[int, str] | None = None) -> None:
    """Write the descriptions of a registered model and of its versions, where they have changed.

    name: the name of the registered model. facts: number of a version → the facts of its new
    verdict, as `verdict_facts` returns them. Other versions keep the facts that they have. A
    version without a description gets one if it is the champion or the challenger, or if the last
    decision was about it.

    If MLflow refuses a description, a log message says so, and no error is raised: what was decided
    is on record, and the next decision writes the descriptions again.
    """
    from mlflow.exceptions import MlflowException

    try:
        for _ in range(TRIES):  # Another process may decide while this one writes.
            standing = read_standing(name)
            _describe_versions(name, standing, facts or {})
            _describe_model(name, standing)
            if read_standing(name) == standing:
                return
    except MlflowException as error:
        log.warning(f"the descriptions of {name} in MLflow may be out of date: {one_line(error)}")


def model_facts(version: Version, params: Mapping[str, str] | None = None) -> ModelFacts:
    """Return what the register report and the descriptions say of a version.

    params: the params of its training; None if they are not needed.
    """
    return ModelFacts(version.name, version.number, version.model_id, version.tags, params or {})


def _describe_versions(name: str, standing: Standing, facts: Mapping[int, str]) -> None:
    last = standing.record[-1:] if standing.record else ()
    decided = {n for event in last for n in (event.version, event.from_version, event.to_version)}
    for version in versions(name):
        old = read_description(version.description)
        wanted = old.has_block or version.aliases or version.number in {*facts, *decided}
        if not wanted or not version.model_id:
            continue
        about = facts.get(version.number) or old.facts or tag_facts(model_facts(version))
        status = "\n\n".join(_status(version, standing))
        new = write_description(version.description, status, about)
        if new != version.description:
            client().update_model_version(name, str(version.number), new)


def _status(version: Version, standing: Standing) -> Iterator[str]:
    """Yield what a version is, and how to decide on it, as Markdown.

    MLflow's list of versions shows the first characters as they are written. So they are no markup.
    """
    event = last_decision(standing.record, version.number, version.model_id)
    declined = event is not None and event.declines
    if version.number == standing.held:
        yield f"Champion{_since(standing.last_move)}"
        if {*champions(standing.record)} - {None, standing.held}:
            yield f"`{ROLLBACK}` makes the champion before it the champion again."
        yield from _served(version)
        return
    if declined:
        yield f"{text(_first(review_objections(version, standing)), LONGEST_WARNING)}."
    elif CHALLENGER in version.aliases:
        yield "Challenger: it waits for a decision."
    elif event is not None:
        yield f"Earlier champion: promoted{_by(event)}"
    else:
        yield "Neither champion nor challenger."
    if CHALLENGER in version.aliases and is_outdated(version, standing.champion):
        made = judged_against(version.tags.get(COMPARED_WITH, ""))
        yield f"Its verdict was made {made}; `fovea promote` first compares it with the champion."
    yield from _served(version)
    choices = commands(version.number, version.tags.get("verdict", "none"), declined=declined)
    yield f"To decide:\n\n{in_code(choices)}"
    yield (
        "Or here: give the alias `champion` to this version. The next command of Fovea puts the "
        "move on record."
    )


def _served(version: Version) -> Iterator[str]:
    if said := served_text(version):
        yield f"{text(said, LONGEST_WARNING)}."


def _describe_model(name: str, standing: Standing) -> None:
    from mlflow.exceptions import MlflowException

    try:
        before = client().get_registered_model(name).description or ""
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return
        raise
    status = _standing(standing)
    new = write_description(before, status, _history(standing, room_for_facts(before, status)))
    if new != before:
        client().update_registered_model(name, new)


def _standing(standing: Standing) -> str:
    held = "No champion yet."
    if standing.held is not None:
        held = f"**Champion: version {standing.held}**{_since(standing.last_move)}"
    elif standing.record:
        held = "**No champion.**"
    warning = champion_warning(standing)
    return "\n\n".join([held, *([f"Note: {text(warning, LONGEST_WARNING)}."] if warning else [])])


def _history(standing: Standing, room: int) -> str:
    """Return the decisions as a Markdown table, newest first; the oldest may find no room.

    room: how many characters there are.
    """
    if not standing.record:
        return "No version was promoted, rejected or rolled back yet."
    rows: list[list[str]] = []
    room -= len(spaced_table(COLUMNS, [])) + len(OLDER) + 10
    for event in reversed(standing.record):
        *cells, why = event_row(event)
        row = [*map(text, cells), text(why, LONGEST_WHY)]
        room -= len(GAP.join(row)) + 3 * len(row) + 2
        if room < 0:
            break
        rows.append(row)
    left_out = len(standing.record) - len(rows)
    older = f"\n\n{left_out} {OLDER}" if left_out else ""
    return spaced_table(COLUMNS, rows) + older


def _since(move: Event | None) -> str:
    return "." if move is None else f" since {when_text(move)} UTC{_by(move)}"


def _by(event: Event) -> str:
    return f" by {text(event.who)}: {text(event.why, LONGEST_WHY)}"


def _first(lines: Iterator[str]) -> str:
    return next(lines, "")
