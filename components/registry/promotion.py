"""A reviewer's decision → an event in the record, then the alias `champion` on the right version.

The record is the list of all decisions about a registered model (see record.py). First the event is
written to the record. Then the alias `champion` is moved to the last champion in the record. If the
process crashes between these two steps, the alias stays on the old champion. In this case the next
decision of a reviewer moves the alias.
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
    """Make a version the champion and return the event in the record.

    name: the name of the registered model. wanted: the number or an alias of the version; None for
    the challenger. reason: the reason, at most LONGEST_REASON characters. by: the name of the
    person who decides. override: if True, the version is promoted even if the gate or a reviewer
    has rejected it.

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - The version does not exist, is the champion already, or was not registered by Fovea.
    - The model file of the version is missing or was changed.
    - The gate or a reviewer has rejected the version, and `override` is False.
    - Another person decided at the same moment, and the event of that person counts.
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
    """Reject a version and return the event in the record.

    If the version has the alias `challenger`, the alias is removed. The stage `register` never
    makes a rejected version the challenger or the champion.

    name: the name of the registered model. wanted: the number or an alias of the version; None for
    the challenger. reason: the reason, at most LONGEST_REASON characters. by: the name of the
    person who decides.

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - The version does not exist, or is the champion.
    - Another person decided at the same moment, and the event of that person counts.
    """
    connect()
    why = one_line_reason(reason)
    version = _version_to_decide_on(name, wanted)
    # The champion cannot be rejected. Usually the champion is the version with the alias. But if an
    # earlier promotion was interrupted, the promoted version is the last champion in the record and
    # does not have the alias yet. `_decide` would give this version the alias.
    line = line_of_champions(history(name), _number_of_champion(name))
    if CHAMPION in version.aliases or version.number == line[-1]:
        raise UserError(
            "this version is the champion; use `fovea rollback` to go back to the previous one. "
            f"Received: {version.number}"
        )
    event = _decide(name, Event("reject", version.number, None, None, by, why))
    tag_version(name, version.number, {REVIEW: REJECTED, f"{REVIEW}.reason": why})
    _release_challenger(name, version.number)
    return event


def rollback(name: str, reason: str, by: str) -> Event:
    """Go back to the previous champion; return the event that was written to the record.

    name: the name of the registered model. reason: the reason, at most LONGEST_REASON characters.
    by: the name of the person who decides.

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - There is no champion, or the record has no previous champion.
    - The version of the previous champion does not exist, or was not registered by Fovea.
    - The model file of this version is missing or was changed.
    - Another person decided at the same moment, and the event of that person counts.
    """
    connect()
    why = one_line_reason(reason)
    line = line_of_champions(history(name), _number_of_champion(name))
    present, before = line[-1], line[-2] if len(line) > 1 else None
    if present is None or before is None:
        champion_now = f"version {present}" if present else "none"
        raise UserError(
            f"{name} has no previous champion to go back to; promote another version instead. "
            f"Received: {champion_now}"
        )
    download(find_version(name, str(before)))
    event = _decide(name, Event("rollback", present, None, before, by, why))
    tag_version(name, present, {REVIEW: ROLLED_BACK, f"{REVIEW}.reason": why})
    return event


def history(name: str) -> tuple[Event, ...]:
    """Return the events of a registered model, oldest first; empty if the model does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return read_record(client().get_registered_model(name).tags)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return ()
        raise


def _decide(name: str, event: Event) -> Event:
    """Append the event to the record, move the alias, and return the event with its key.

    Raises UserError if another process wrote an event with the same number at the same moment, and
    the key of that event sorts first. Then that event counts, and the event of this process does
    not count.
    """
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
            f"this decision does not count, because {rival.who} decided a moment earlier "
            f"({rival.kind} {rival.version}: {rival.why}); look at `fovea history`, and decide "
            f"again if it is still needed. Received: {mine.kind} {mine.version}"
        )
    return mine


def _follow(name: str) -> None:
    """Move the alias `champion` to the last champion in the record.

    Several processes can write to the record at the same moment. So each process reads the record
    again after it has moved the alias, and repeats the move if the record has changed. The process
    that finishes last has read the complete record. So in the end the alias is on the last champion
    in the complete record.
    """
    from mlflow.exceptions import MlflowException

    while True:
        record = history(name)
        target = champions(record)[-1]
        if target is not None and target != _number_of_champion(name):
            try:
                client().set_registered_model_alias(name, CHAMPION, str(target))
            except MlflowException:
                # If two processes create the alias at the same moment, MLflow raises an exception
                # in one of them. Then the alias exists now, and the loop starts again. If the alias
                # does not exist, the exception has another cause.
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
