"""A reviewer's decision → an event on record, and then the alias `champion` where the record says.

The record is written first and the alias is made to follow it, so that a crash between the two
leaves the old champion in place and the next decision finishes the move.
"""

from components.errors import UserError
from components.registry.record import (
    Event,
    champions,
    line_of_champions,
    one_line_reason,
    read_record,
    to_tag,
    with_key,
)
from components.registry.versions import (
    CHALLENGER,
    CHAMPION,
    PROMOTED,
    REJECTED,
    REVIEW,
    ROLLED_BACK,
    Version,
    challenger,
    champion,
    download,
    find_version,
    tag_version,
)
from components.tracking.connection import client, connect


def promote(
    name: str, wanted: str | None, reason: str, by: str, *, override: bool = False
) -> Event:
    """Make a version the champion; without `wanted`, the challenger.

    name: the registered model. wanted: a number or an alias. override: promote also what the gate
    or a reviewer has rejected. by: who decides.
    Raises UserError where there is no such version, it is the champion already, its file is not
    the one that was registered, it was rejected, or another person decided in the same moment.
    """
    connect()
    why = one_line_reason(reason)
    version = _version_to_decide_on(name, wanted)
    record = history(name)
    if CHAMPION in version.aliases and champions(record)[-1] == version.number:
        raise UserError(f"this version is the champion already. Received: {version.number}")
    objection = _objection(version)
    if objection and not override:
        raise UserError(
            f"{objection}; to promote it nevertheless, add --override, which is recorded. "
            f"Received: {version.number}"
        )
    download(version)
    event = _decide(
        name,
        Event(
            "promote",
            version.number,
            None,
            version.number,
            by,
            why,
            override=bool(objection),
        ),
    )
    tag_version(name, version.number, {REVIEW: PROMOTED, f"{REVIEW}.reason": why})
    _release_challenger(name, version.number)
    return event


def reject(name: str, wanted: str | None, reason: str, by: str) -> Event:
    """Decline a version for good; without `wanted`, the challenger. No alias `challenger` stays.

    Raises UserError where there is no such version, or it is the champion.
    """
    connect()
    why = one_line_reason(reason)
    version = _version_to_decide_on(name, wanted)
    # By the record, too: a move that was interrupted would be finished by this event.
    line = line_of_champions(history(name), _number_of_champion(name))
    if CHAMPION in version.aliases or version.number == line[-1]:
        raise UserError(
            "this version is the champion; `fovea rollback` takes it back. "
            f"Received: {version.number}"
        )
    event = _decide(name, Event("reject", version.number, None, None, by, why))
    tag_version(name, version.number, {REVIEW: REJECTED, f"{REVIEW}.reason": why})
    _release_challenger(name, version.number)
    return event


def rollback(name: str, reason: str, by: str) -> Event:
    """Make the champion before the present one, by the record, champion again.

    Raises UserError where the record has no earlier champion, or that version is missing, or its
    file is not the one that was registered.
    """
    connect()
    why = one_line_reason(reason)
    line = line_of_champions(history(name), _number_of_champion(name))
    present, before = line[-1], line[-2] if len(line) > 1 else None
    if present is None or before is None:
        champion_now = f"version {present}" if present else "none"
        raise UserError(
            f"there is no champion before the present one of {name}. Received: {champion_now}"
        )
    download(find_version(name, str(before)))
    event = _decide(name, Event("rollback", present, None, before, by, why))
    tag_version(name, present, {REVIEW: ROLLED_BACK, f"{REVIEW}.reason": why})
    return event


def history(name: str) -> tuple[Event, ...]:
    """Return the record of a registered model, oldest first; empty where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return read_record(client().get_registered_model(name).tags)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return ()
        raise


def _decide(name: str, event: Event) -> Event:
    """Append the event to the record, move the alias, and return the event with its key."""
    record = history(name)
    present = line_of_champions(record, _number_of_champion(name))[-1]
    target = present if event.kind == "reject" else event.to_version
    mine = with_key(event.between(present, target), record)
    client().set_registered_model_tag(name, mine.key, to_tag(mine))
    _follow(name)
    others = [other for other in history(name) if other.key != mine.key]
    rival = next((other for other in others if other.number == mine.number), None)
    if rival is not None and rival.key < mine.key:
        raise UserError(
            f"{rival.who} decided in the same moment, and first ({rival.kind} {rival.version}: "
            f"{rival.why}); look at `fovea history`. Received: {mine.kind} {mine.version}"
        )
    return mine


def _follow(name: str) -> None:
    """Put the alias where the record says, until the record stays the same meanwhile.

    The process that moves the alias last reads the record once more after that. So the alias ends
    where the record does, however many decide at once.
    """
    from mlflow.exceptions import MlflowException

    while True:
        record = history(name)
        target = champions(record)[-1]
        if target is not None and target != _number_of_champion(name):
            try:
                client().set_registered_model_alias(name, CHAMPION, str(target))
            except MlflowException:
                # Two processes found no alias at once: MLflow refuses the second. Look once more.
                if _number_of_champion(name) is None:
                    raise
                continue
        if history(name) == record:
            return


def _number_of_champion(name: str) -> int | None:
    version = champion(name)
    return version.number if version else None


def _version_to_decide_on(name: str, wanted: str | None) -> Version:
    if wanted is not None:
        return find_version(name, wanted)
    return challenger(name) or find_version(name, CHALLENGER)


def _objection(version: Version) -> str:
    if version.tags.get(REVIEW) == REJECTED:
        return f"a reviewer rejected this version ({version.tags.get(f'{REVIEW}.reason', '')})"
    if version.tags.get("verdict") == "reject":
        return f"the gate rejected this version ({version.tags.get('reasons', '')})"
    return ""


def _release_challenger(name: str, number: int) -> None:
    holder = challenger(name)
    if holder is not None and holder.number == number:
        client().delete_registered_model_alias(name, CHALLENGER)
