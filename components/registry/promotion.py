"""A decision on a version → an event in the record, and the alias `champion` on the right version.

A version is a model that is registered in MLflow. An alias is a name for a version: `champion` is
the version in use, and `challenger` is the new version that may replace the champion. An event is
one decision: promote (make a version the champion), reject, or rollback (go back to the previous
champion). Usually a person decides. With `register.promote: auto` in params.yaml, the stage
`register` promotes without a person. The record is the list of all events of a registered model
(see record.py).

First the event is written to the record. Then the alias `champion` is moved to the last champion in
the record. If the process crashes between these two steps, the alias stays on the old champion. In
this case the next decision moves the alias to the right version. If a person moves the alias in
MLflow, without Fovea, the alias stays where it is, and the move becomes an event, too.

A version becomes the champion only with the verdict `promote` from a comparison with the present
champion, or if a person overrides this rule. Example: versions 2 and 3 were both compared with
version 1. After version 2 is promoted, version 3 must be compared with version 2 before it can be
promoted.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from components.errors import UserError, one_line
from components.registry.record import (
    BY_HAND,
    Event,
    champions,
    last_move,
    moved_by_hand,
    one_line_reason,
    read_record,
    to_tag,
    with_key,
)
from components.registry.versions import (
    CHALLENGER,
    CHAMPION,
    COMPARED_WITH,
    PROMOTED,
    REJECTED,
    REVIEW,
    ROLLED_BACK,
    Version,
    challenger,
    download,
    find_version,
    tag_version,
    versions,
)
from components.tracking.connection import client, connect

log = logging.getLogger(__name__)

# A function that compares a version with another version, the champion, on the test images of this
# workspace, and writes the verdict to the tags of the first version. The second argument is None if
# there is no champion. If the test images are not here, nothing is written. The result is not used.
Judge = Callable[[Version, Version | None], object]

JUDGE_AGAIN = (
    "it cannot be judged again, because its test images are not in this folder; run `dvc pull` or "
    "`dvc repro evaluate` and repeat this command, or "
)
SOMEBODY = "unknown, in MLflow"  # who moved an alias by hand
# A move by hand is put on record if the alias stays where it is for this time. The alias can be
# somewhere else for some milliseconds while other processes decide.
SETTLE_S = 0.3
LONGEST_REASONS = 200  # characters of a verdict's reasons in an event or an error message


def judge_nothing(version: Version, champion: Version | None) -> None:
    """Write no verdict: the judge for a caller that has no test images."""


@dataclass(frozen=True)
class Standing:
    """What a decision is based on.

    record: the events of the registered model. held: the number of the version that has the alias
    `champion` in MLflow; None if no version has it.
    """

    record: tuple[Event, ...]
    held: int | None

    @property
    def champion(self) -> int | None:
        """Return the number of the last champion in the record; None if there is no champion."""
        return champions(self.record)[-1]

    @property
    def last_move(self) -> Event | None:
        """Return the last event that changed the champion; None if there is no such event."""
        return last_move(self.record)


def promote(
    name: str,
    wanted: str | None,
    reason: str,
    by: str,
    judge: Judge = judge_nothing,
    *,
    override: bool = False,
) -> Event:
    """Make a version the champion and return the event in the record.

    If the verdict on the version is from a comparison with another champion, the version is judged
    again, and the new verdict becomes the verdict of the version.

    name: the name of the registered model. wanted: the number or an alias of the version; None for
    the challenger. reason: the reason for the decision, at most LONGEST_REASON characters. by: the
    name of the person who decides, or a text that names the stage `register`. judge: the function
    that judges a version again. override: if True, the version is promoted although one of the
    last three cases below is true, and it is not judged again.

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - The version does not exist, is the champion already, or was not registered by Fovea.
    - The model file of the version is missing or was changed.
    - Another person decided, or moved the alias, since this function has read the registry.
    - A reviewer has rejected the version, or rolled it back.
    - The version has no verdict, or its verdict is `hold` or `reject`.
    - Its verdict is not from a comparison with the present champion, and cannot be made again here.
    """
    connect()
    why = one_line_reason(reason)
    version = _version_to_decide_on(name, wanted)
    standing = note_hand_move(name, judge)
    if version.number == standing.champion == standing.held:
        raise UserError(f"this version is the champion already. Received: {version.number}")
    overridden = ""
    # If the promotion of this version was interrupted, its verdict is checked already.
    if version.number != standing.champion:
        if standing.champion != standing.held:  # The last decision was interrupted.
            _follow(name)
            standing = read_standing(name)
        if not override and not any(_review_objections(version, standing)):
            version = _judge_again(version, standing, judge)
        overridden = "; ".join(_objections(version, standing))
        advice = JUDGE_AGAIN if _is_outdated(version, standing.champion) else ""
        _refuse(overridden, f"{advice}add --override to promote it", version.number, override)
    download(version)
    event = Event("promote", version.number, None, version.number, by, why)
    decided = _decide(name, event.with_overridden(overridden), standing)
    tag_version(name, version.number, {REVIEW: PROMOTED, f"{REVIEW}.reason": why})
    _release_challenger(name, version.number)
    return decided


def reject(
    name: str, wanted: str | None, reason: str, by: str, judge: Judge = judge_nothing
) -> Event:
    """Reject a version and return the event in the record.

    If the version has the alias `challenger`, the alias is removed. The stage `register` never
    makes a rejected version the challenger or the champion.

    name: the name of the registered model. wanted: the number or an alias of the version; None for
    the challenger. reason: the reason for the decision, at most LONGEST_REASON characters. by: the
    name of the person who decides. judge: the function that judges a version again; see
    `note_hand_move`.

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - The version does not exist, or is the champion.
    - Another person decided, or moved the alias, since this function has read the registry.
    """
    connect()
    why = one_line_reason(reason)
    version = _version_to_decide_on(name, wanted)
    standing = note_hand_move(name, judge)
    # The champion cannot be rejected. Usually the champion has the alias `champion`. But if an
    # earlier promotion was interrupted, the promoted version is only the last champion in the
    # record, and does not have the alias yet. Such a version cannot be rejected either, because
    # `_decide` below would give it the alias.
    if version.number in (standing.champion, standing.held):
        raise UserError(
            "the champion cannot be rejected; use `fovea rollback` to go back to the previous "
            f"champion. Received: {version.number}"
        )
    event = _decide(name, Event("reject", version.number, None, None, by, why), standing)
    tag_version(name, version.number, {REVIEW: REJECTED, f"{REVIEW}.reason": why})
    _release_challenger(name, version.number)
    return event


def rollback(name: str, reason: str, by: str, *, override: bool = False) -> Event:
    """Make the previous champion the champion again, and return the event in the record.

    No version is judged again, so that a rollback takes seconds.

    name: the name of the registered model. reason: the reason for the decision, at most
    LONGEST_REASON characters. by: the name of the person who decides. override: if True, the
    previous champion becomes the champion again although the last case below is true.

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - There is no champion, or the record has no previous champion.
    - The previous champion was deleted in MLflow, or was not registered by Fovea.
    - The model file of the previous champion is missing or was changed.
    - Another person decided, or moved the alias, since this function has read the registry.
    - The gate or a reviewer has rejected the previous champion, or a reviewer has rolled it back.
    """
    connect()
    why = one_line_reason(reason)
    standing = note_hand_move(name)
    last = standing.last_move
    if last and last.kind == "rollback" and standing.held != standing.champion:
        _follow(name)  # The rollback was interrupted; its event is in the record.
        return last
    line = champions(standing.record)
    present, before = line[-1], line[-2] if len(line) > 1 else None
    if present is None or before is None:
        champion_now = f"champion version {present}" if present else "no champion"
        raise UserError(
            f"{name} has no previous champion; use `fovea promote` to choose another version. "
            f"Received: {champion_now}"
        )
    version = next((version for version in versions(name) if version.number == before), None)
    if version is None:
        raise UserError(
            f"the previous champion of {name} was deleted in MLflow; use `fovea promote` to choose "
            f"another version. Received: version {before}"
        )
    overridden = "; ".join([*_review_objections(version, standing), *_rejections(version)])
    _refuse(overridden, "add --override to go back to it", before, override)
    download(version)
    event = Event("rollback", present, None, before, by, why)
    decided = _decide(name, event.with_overridden(overridden), standing)
    tag_version(name, present, {REVIEW: ROLLED_BACK, f"{REVIEW}.reason": why})
    return decided


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
            before = f"before, the champion was {_called(mine.from_version)}"
            log.info(f"{mine.why} ({before}); this is on record now")
            if mine.to_version is not None:
                _release_challenger(name, mine.to_version)


def champion_warning(standing: Standing) -> str:
    """Return a sentence about a champion that a person has set by hand; empty if all is well.

    All is well if the last champion came by `fovea` or the stage `register`, or if the verdict on
    the version that was set by hand is `promote`.
    """
    held = standing.held
    if moved_by_hand(standing.record, held):
        return (
            f"the alias champion was moved by hand in MLflow (now: {_called(held)}), and the move "
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


def history(name: str) -> tuple[Event, ...]:
    """Return the events of a registered model, oldest first; empty if the model does not exist."""
    return read_standing(name).record


def read_standing(name: str) -> Standing:
    """Return the record and the alias; without events and champion if there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        model = client().get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return Standing((), None)
        raise
    held = model.aliases.get(CHAMPION)
    return Standing(read_record(model.tags), None if held is None else int(held))


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
        version = _judge_again(version, standing, judge)
    except UserError as error:  # A version that cannot be loaded is the champion nevertheless.
        log.warning(f"version {held} is not compared with the champion before it: {error}")
    moved = replace(event, why=f"the alias champion was moved to version {held} in MLflow")
    return moved.with_overridden("; ".join(_objections(version, standing)))


def _judge_again(version: Version, standing: Standing, judge: Judge) -> Version:
    """Return the version with a verdict from a comparison with the champion of the record.

    If its verdict is from another comparison, it is judged again. The version is returned as it is
    if it was never judged, or if the test images are not here.
    """
    champion = standing.champion
    if not _is_outdated(version, champion):
        return version
    judge(version, None if champion is None else find_version(version.name, str(champion)))
    return find_version(version.name, str(version.number))


def _objections(version: Version, standing: Standing) -> Iterator[str]:
    """Yield the reasons for which a version must not replace the champion without an override."""
    yield from _review_objections(version, standing)
    decision = version.tags.get("verdict")
    if decision is None:
        yield "it was registered without a verdict"
    elif _is_outdated(version, standing.champion):
        made, now = _against(_compared(version)), _against(_tag(standing.champion))
        yield f"its verdict, {decision}, was made {made}, not {now}"
    else:
        yield from _rejections(version)
        if decision not in ("promote", "reject"):
            yield f"its verdict is {decision} ({_reasons(version)})"


def _review_objections(version: Version, standing: Standing) -> Iterator[str]:
    """Yield the last decision of a reviewer about the version, if it was against the version.

    The decision is read from the record, and not from the tags of the version. The tags are missing
    if the process that decided was killed before it wrote them.
    """
    kinds = {"reject": "rejected", "rollback": "rolled back"}
    decisions = [
        event
        for event in standing.record
        if event.version == version.number and not event.superseded and event.kind != BY_HAND
    ]
    for event in decisions[-1:]:
        if event.kind in kinds:
            yield f"a reviewer {kinds[event.kind]} this version ({event.why})"


def _rejections(version: Version) -> Iterator[str]:
    if version.tags.get("verdict") == "reject":
        yield f"the gate rejected this version ({_reasons(version)})"


def _refuse(objections: str, advice: str, number: int, override: bool) -> None:
    """Raise UserError if there are objections and no override."""
    if objections and not override:
        raise UserError(
            f"{objections}; {advice} nevertheless (the record will show the override). "
            f"Received: {number}"
        )


def _decide(name: str, event: Event, standing: Standing) -> Event:
    """Append the event to the record, move the alias, and return the event with its key.

    event: the event without a key and without from_version. If the event is a rejection, to_version
    is missing, too. The missing fields are set here. standing: the record and the alias on which
    the decision is based.

    If two processes write an event at the same moment, the two events have the same number, because
    both decisions are based on the same record. Then only the event whose key sorts first counts.
    Raises UserError if the event of this process is the event that does not count, or if the record
    or the alias has changed.
    """
    _check_unchanged(name, standing)
    present = standing.champion
    target = present if event.kind == "reject" else event.to_version
    mine = with_key(event.between(present, target), standing.record)
    client().set_registered_model_tag(name, mine.key, to_tag(mine))
    _follow(name)
    others = [other for other in history(name) if other.key != mine.key]
    rival = next((other for other in others if other.number == mine.number), None)
    if rival is not None and rival.key < mine.key:
        raise UserError(
            f"this decision does not count, because {rival.who} decided a moment earlier "
            f"({rival.kind} version {rival.version}: {rival.why}); look at `fovea history`, and "
            "repeat the command if your decision is still right. "
            f"Received: {mine.kind} version {mine.version}"
        )
    return mine


def _check_unchanged(name: str, standing: Standing) -> None:
    """Raise UserError if the record or the alias is no longer what a decision is based on."""
    now = read_standing(name)
    if now != standing:
        raise UserError(
            "this decision does not count, because another decision was made, or the alias "
            "champion was moved, in the meantime; look at `fovea history`, and repeat the command "
            f"if your decision is still right. Received: champion {_called(now.held)}, before "
            f"{_called(standing.held)}"
        )


def _follow(name: str) -> None:
    """Move the alias `champion` to the last champion in the record.

    Several processes can write to the record at the same moment. So each process reads the record
    again after it has moved the alias. If the record has changed, the process moves the alias
    again. The last process to finish has read the complete record. So in the end the alias is on
    the last champion in the complete record. At the end, each event that moved the champion gets
    the tag that says that the alias was moved.
    """
    from mlflow.exceptions import MlflowException

    while True:
        standing = read_standing(name)
        target = standing.champion
        if target is not None and target != standing.held:
            try:
                client().set_registered_model_alias(name, CHAMPION, str(target))
            except MlflowException:
                # If two processes create the alias at the same moment, MLflow raises an exception
                # in one process. But the alias exists now, so the loop starts again. If the alias
                # does not exist, the exception has another cause and is raised again.
                if read_standing(name).held is None:
                    raise
                continue
        if read_standing(name).record == standing.record:
            break
    for event in standing.record:
        if not event.moved and event.from_version != event.to_version:
            _confirm_move(name, event)


def _confirm_move(name: str, event: Event) -> None:
    """Write the tag that says that the alias was moved to where the event says."""
    from mlflow.exceptions import MlflowException

    try:
        client().set_registered_model_tag(name, event.moved_key, "the alias was moved")
    except MlflowException:
        # If two processes create the tag at the same moment, MLflow raises an exception in one
        # process. If the tag does not exist now, the exception has another cause.
        if not any(other.key == event.key and other.moved for other in history(name)):
            raise


def _version_to_decide_on(name: str, wanted: str | None) -> Version:
    if wanted is not None:
        return find_version(name, wanted)
    # If there is no challenger, find_version raises a UserError that lists the existing versions.
    return challenger(name) or find_version(name, CHALLENGER)


def _release_challenger(name: str, number: int) -> None:
    holder = challenger(name)
    if holder is not None and holder.number == number:
        client().delete_registered_model_alias(name, CHALLENGER)


def _is_outdated(version: Version, champion: int | None) -> bool:
    """Return True if the version has a verdict, but from a comparison with another champion."""
    return "verdict" in version.tags and _compared(version) != _tag(champion)


def _tag(number: int | None) -> str:
    """Return the value of the tag `compared_with` for a champion."""
    return "none" if number is None else str(number)


def _compared(version: Version) -> str:
    """Return the number of the champion of the version's verdict, `none`, or `` if unknown."""
    return version.tags.get(COMPARED_WITH, "")


def _against(champion: str) -> str:
    """Return in words with what a version was compared; `champion` is a value of `_compared`."""
    if champion == "none":
        return "without a champion"
    return f"against version {champion}" if champion else "against an unknown version"


def _called(number: int | None) -> str:
    return "no champion" if number is None else f"version {number}"


def _reasons(version: Version) -> str:
    reasons = one_line(version.tags.get("reasons", ""), longest=None)
    return reasons if len(reasons) <= LONGEST_REASONS else f"{reasons[:LONGEST_REASONS]} …"
