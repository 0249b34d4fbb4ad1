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

objections.py has the rules for which version may become the champion. hand_moves.py puts a move of
the alias without Fovea on record.
"""

from components.errors import UserError
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
from components.registry.record import Event, champions, one_line_reason, to_tag, with_key
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

JUDGE_AGAIN = (
    "it cannot be judged again, because its test images are not in this folder; run `dvc pull` or "
    "`dvc repro evaluate` and repeat this command, or "
)


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
        if not override and not any(review_objections(version, standing)):
            version = judge_again(version, standing, judge)
        overridden = "; ".join(objections(version, standing))
        advice = JUDGE_AGAIN if is_outdated(version, standing.champion) else ""
        _refuse(overridden, f"{advice}add --override to promote it", version.number, override)
    download(version)
    event = Event("promote", version.number, None, version.number, by, why)
    decided = _decide(name, event.with_overridden(overridden), standing)
    tag_version(name, version.number, {REVIEW: PROMOTED, f"{REVIEW}.reason": why})
    release_challenger(name, version.number)
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
    release_challenger(name, version.number)
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
    overridden = "; ".join([*review_objections(version, standing), *rejections(version)])
    _refuse(overridden, "add --override to go back to it", before, override)
    download(version)
    event = Event("rollback", present, None, before, by, why)
    decided = _decide(name, event.with_overridden(overridden), standing)
    tag_version(name, present, {REVIEW: ROLLED_BACK, f"{REVIEW}.reason": why})
    return decided


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
