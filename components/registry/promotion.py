"""A decision on a version → an event in the record, and the alias `champion` on the right version.

A version is a model that is registered in MLflow. An alias is a name for a version: `champion` is
the version in use, and `challenger` is the new version that may replace the champion. An event is
one decision: promote (make a version the champion), reject, or rollback (go back to the previous
champion). Usually a person decides. With `register.promote: auto` in params.yaml, the stage
`register` promotes without a person. The record is the list of all events of a registered model
(see record.py).

First the event is written to the record. Then the alias `champion` is moved to the last champion in
the record. If the process crashes between these two steps, the alias stays on the old champion. In
this case the next decision, or the next run of the stage `register`, moves the alias to the right
version. If a person moves the alias in MLflow, without Fovea, the alias stays where it is, and the
move becomes an event, too.

objections.py has the rules for which version may become the champion. hand_moves.py puts a move of
the alias without Fovea on record.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from components.errors import UserError
from components.registry.descriptions import describe
from components.registry.hand_moves import note_hand_move
from components.registry.objections import (
    Judge,
    is_outdated,
    judge_again,
    judge_nothing,
    objections,
    rejections,
    review_objections,
)
from components.registry.record import (
    BY_HAND,
    Event,
    champions,
    one_line_reason,
    to_tag,
    with_key,
)
from components.registry.standing import Standing, history, in_words, read_standing
from components.registry.versions import (
    CHALLENGER,
    CHAMPION,
    PROMOTED,
    REJECTED,
    REVIEW,
    ROLLED_BACK,
    Version,
    challenger,
    download,
    find_version,
    release_challenger,
    tag_version,
    versions,
)
from components.tracking.connection import client, connect

log = logging.getLogger(__name__)

JUDGE_AGAIN = (
    "it cannot be judged again, because its test images are not in this folder; run `dvc pull` or "
    "`dvc repro evaluate` and repeat this command, or "
)
ON_RECORD = "nevertheless (the record will show the override)"


class RefusedError(UserError):
    """The rules, or a decision of a reviewer, are against a decision."""


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

    If the promotion of this version was interrupted, it is finished, and its event is returned.

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - The version does not exist, or was not registered by Fovea.
    - The model file of the version is missing or was changed.

    Raises RefusedError, which is a UserError, in these cases:

    - The version is the champion already.
    - Another person decided, or moved the alias, since this function has read the registry.
    - A reviewer has rejected the version, or rolled it back.
    - The version has no verdict, or its verdict is `hold` or `reject`.
    - Its verdict is not from a comparison with the present champion, and cannot be made again here.
    """
    connect()
    why = one_line_reason(reason)
    version = _version_to_decide_on(name, wanted)
    before = note_hand_move(name, judge)
    standing, interrupted = finish(name, before), before.interrupted
    if interrupted and (interrupted.kind, interrupted.version) == ("promote", version.number):
        return interrupted
    if version.number == standing.champion:
        raise RefusedError(f"this version is the champion already. Received: {version.number}")
    if not override and not any(review_objections(version, standing)):
        version = judge_again(version, standing, judge)
    overridden = "; ".join(objections(version, standing))
    if overridden and not override:
        advice = JUDGE_AGAIN if is_outdated(version, standing.champion) else ""
        raise RefusedError(
            f"{overridden}; {advice}add --override to promote it {ON_RECORD}. "
            f"Received: {version.number}"
        )
    download(version)
    event = Event("promote", version.number, None, version.number, by, why)
    return _decide(name, _about(version, event.with_overridden(overridden)), standing)


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
    # After an interrupted promotion, the promoted version is the champion.
    standing = finish(name, note_hand_move(name, judge))
    if version.number == standing.champion:
        raise RefusedError(
            "the champion cannot be rejected; use `fovea rollback` to go back to the previous "
            f"champion. Received: {version.number}"
        )
    event = Event("reject", version.number, None, None, by, why)
    return _decide(name, _about(version, event), standing)


def rollback(name: str, reason: str, by: str, *, override: bool = False) -> Event:
    """Make an earlier champion the champion again, and return the event in the record.

    It is the last champion in the record, before the present one, that still exists and was not
    rejected. If there is no champion now, because a person removed the alias or deleted the
    champion in MLflow, it is the last champion of all. A log message names each champion that is
    left out, and says why. No version is judged again, so that a rollback takes seconds.

    If a rollback was interrupted, it is finished, and its event is returned.

    name: the name of the registered model. reason: the reason for the decision, at most
    LONGEST_REASON characters. by: the name of the person who decides. override: if True,
    champions that were rejected or rolled back are not left out.

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - The record has no earlier champion, or all of them are left out: deleted in MLflow, rejected
      by the gate or a reviewer, or rolled back.
    - The model file of the earlier champion is missing or was changed, or the version was not
      registered by Fovea.
    - Another person decided, or moved the alias, since this function has read the registry.
    """
    connect()
    why = one_line_reason(reason)
    before = note_hand_move(name)
    standing, interrupted = finish(name, before), before.interrupted
    if interrupted and interrupted.kind == "rollback":
        return interrupted
    existing = versions(name)
    version, left_out = _earlier_champion(existing, standing, override)
    if version is None:
        found = f" to go back to ({'; '.join(left_out)})" if left_out else ""
        again = f"add --override to go back to it {ON_RECORD}, or "
        known = {version.number for version in existing} & {*champions(standing.record)}
        advice = again if known - {standing.champion} else ""
        champion_now = (
            f"champion version {standing.champion}" if standing.champion else "no champion"
        )
        raise RefusedError(
            f"{name} has no previous champion{found}; {advice}use `fovea promote` to choose "
            f"another version. Received: {champion_now}"
        )
    for line in left_out:
        log.info(f"left out: {line}")
    download(version)
    present = standing.champion
    overridden = "; ".join([*review_objections(version, standing), *rejections(version)])
    event = Event("rollback", present or version.number, None, version.number, by, why)
    stopped = next((v for v in existing if v.number == event.version), None)
    event = event.with_overridden(overridden)
    return _decide(name, _about(stopped, event) if stopped else event, standing)


def finish(name: str, standing: Standing) -> Standing:
    """Finish the last decision if its process was killed, and return the record and the alias.

    standing: the record and the alias, as `note_hand_move` returns them. The alias is moved, the
    decision is written to the tags of its version, and the version is no longer the challenger.
    """
    interrupted = standing.interrupted is not None
    if interrupted:
        _follow(name)
        standing = read_standing(name)
    counted = [event for event in standing.record if not event.superseded]
    if counted and counted[-1].kind != BY_HAND:
        _show_on_version(name, counted[-1])
    if interrupted or (counted and counted[-1].kind == BY_HAND):
        describe(name)
    return standing


def _about(version: Version, event: Event) -> Event:
    """Return a copy of the event that names the model of the version."""
    return replace(event, model_id=version.model_id)


def _show_on_version(name: str, event: Event) -> None:
    """Write a decision to the tags of its version, which is then no longer the challenger.

    If two processes write the same at the same moment, MLflow raises an exception in one process.
    This can happen once for each of the three writes.
    """
    from mlflow.exceptions import MlflowException

    for _ in range(3):
        with suppress(MlflowException):
            return _write_review(name, event)
    return _write_review(name, event)


def _write_review(name: str, event: Event) -> None:
    """Write what `_show_on_version` writes, once.

    The tag REVIEW is written last. So if it is there, nothing is missing.
    """
    review = {"promote": PROMOTED, "reject": REJECTED, "rollback": ROLLED_BACK}[event.kind]
    review = PROMOTED if event.version == event.to_version else review
    tags = {f"{REVIEW}.reason": event.why, REVIEW: review}
    version = next((each for each in versions(name) if each.number == event.version), None)
    if version is None or tags.items() <= version.tags.items():
        return
    release_challenger(name, event.version)
    tag_version(name, event.version, tags)


def _earlier_champion(
    existing: Sequence[Version], standing: Standing, override: bool
) -> tuple[Version | None, list[str]]:
    """Return the version that a rollback goes back to, or None, and why others are left out."""
    present = standing.champion
    numbers = [number for number in reversed(champions(standing.record)) if number is not None]
    left_out = []
    for number in dict.fromkeys(number for number in numbers if number != present):
        version = next((version for version in existing if version.number == number), None)
        if version is None:
            left_out.append(f"version {number} was deleted in MLflow")
            continue
        against = "; ".join([*review_objections(version, standing), *rejections(version)])
        if override or not against:
            return version, left_out
        left_out.append(f"version {number}: {against}")
    return None, left_out


def _decide(name: str, event: Event, standing: Standing) -> Event:
    """Append the event to the record, move the alias, and return the event with its key.

    At the end, the decision is written to the tags of the version, too.

    event: the event without a key and without from_version. If the event is a rejection, to_version
    is missing, too. The missing fields are set here. standing: the record and the alias on which
    the decision is based.

    If two processes write an event at the same moment, the two events have the same number, because
    both decisions are based on the same record. Then only the event whose key sorts first counts.
    Raises RefusedError if the event of this process is the event that does not count, or if the
    record or the alias has changed.
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
        raise RefusedError(
            f"this decision does not count, because {rival.who} decided a moment earlier "
            f"({rival.kind} version {rival.version}: {rival.why}); look at `fovea history`, and "
            "repeat the command if your decision is still right. "
            f"Received: {mine.kind} version {mine.version}"
        )
    _show_on_version(name, mine)
    describe(name)
    return mine


def _check_unchanged(name: str, standing: Standing) -> None:
    """Raise RefusedError if the record or the alias is no longer what a decision is based on."""
    now = read_standing(name)
    if now != standing:
        raise RefusedError(
            "this decision does not count, because another decision was made, or the alias "
            "champion was moved, in the meantime; look at `fovea history`, and repeat the command "
            f"if your decision is still right. Received: champion {in_words(now.held)}, before "
            f"{in_words(standing.held)}"
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
