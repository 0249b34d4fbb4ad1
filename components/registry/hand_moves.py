"""The alias `champion` was moved by hand in MLflow → an event in the record, and a warning.

A person can move the alias without Fovea. The alias stays where the person has put it. The version
is judged, and a verdict against it is said wherever the champion is named.
"""

import logging
import time
from dataclasses import replace

from components.errors import UserError
from components.registry.objections import Judge, judge_again, judge_nothing, objections
from components.registry.record import BY_HAND, Event, moved_by_hand, to_tag, with_key
from components.registry.standing import Standing, in_words, read_standing
from components.registry.versions import find_version, release_challenger, versions
from components.tracking.connection import client

log = logging.getLogger(__name__)

SOMEBODY = "unknown, in MLflow"  # who moved an alias by hand
# A move by hand is put on record if the alias stays where it is for this time. The alias can be
# somewhere else for some milliseconds while other processes decide.
SETTLE_S = 0.3


def note_hand_move(name: str, judge: Judge = judge_nothing) -> Standing:
    """Put a move of the alias `champion` by hand on record, and return the record and the alias.

    A person can move or remove the alias, or delete the champion, in MLflow and without Fovea. The
    alias stays where the person has put it. If the version with the alias was not compared with the
    champion before it, it is judged now. The event has what `--override` would have been needed
    for, if anything.

    name: the name of the registered model. judge: the function that judges a version again.
    """
    while True:
        standing = read_standing(name)
        if not moved_by_hand(standing.record, standing.held):
            return standing
        event = _hand_move(name, standing, judge)
        # If another process decides at this moment, the record or the alias has changed when it is
        # read again.
        time.sleep(SETTLE_S)
        if read_standing(name) == standing:
            mine = with_key(event, standing.record)
            client().set_registered_model_tag(name, mine.key, to_tag(mine))
            before = f"before, the champion was {in_words(mine.from_version)}"
            log.info(f"{mine.why} ({before}); this is on record now")
            if mine.to_version is not None:
                release_challenger(name, mine.to_version)


def champion_warning(standing: Standing) -> str:
    """Return a sentence about a doubtful champion; empty if all is well.

    A champion is doubtful if a decision was interrupted before the alias was moved, or if a person
    has set the champion by hand. In the second case all is well if the verdict on it is `promote`.
    """
    held = standing.held
    if standing.interrupted:
        return (
            f"the alias champion is on {in_words(held, 'no version')}, but the record ends with "
            f"{in_words(standing.champion, 'no version')}: a decision was interrupted; the next "
            "promote, reject, rollback or run of the stage `register` moves the alias"
        )
    if moved_by_hand(standing.record, held):
        return (
            f"the alias champion was moved by hand in MLflow (now: {in_words(held)}), and the move "
            "is not on record yet; `fovea review` judges the version and puts the move on record"
        )
    last = standing.last_move
    if last is None or last.kind != BY_HAND:
        return ""
    if held is None:
        return f"there is no champion, because {last.why}; before, it was version {last.version}"
    if not last.overridden:
        return ""
    back = f"; before, it was version {last.from_version}" if last.from_version else ""
    return (
        f"version {held} was made the champion by hand in MLflow, although {last.overridden}{back}"
    )


def _hand_move(name: str, standing: Standing, judge: Judge) -> Event:
    """Return the event for a move of the alias by hand, without a key."""
    held, before = standing.held, standing.champion
    event = Event(BY_HAND, held or before or 0, before, held, SOMEBODY, "")
    if held is None:
        kept = any(version.number == before for version in versions(name))
        why = "the alias champion was removed" if kept else "the champion was deleted"
        return replace(event, why=f"{why} in MLflow")
    version = find_version(name, str(held))
    try:
        version = judge_again(version, standing, judge)
    except UserError as error:  # A version that cannot be loaded is the champion nevertheless.
        log.warning(f"version {held} is not compared with the champion before it: {error}")
    moved = replace(event, why=f"the alias champion was moved to version {held} in MLflow")
    return moved.with_overridden("; ".join(objections(version, standing)))
