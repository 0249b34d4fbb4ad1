"""A decision on a version → an event in the record, and the alias `champion` on the right version.

A version is a model that is registered in MLflow. An alias is a name for a version: `champion` is
the version in use, and `challenger` is the new version that may replace the champion. An event is
one decision: promote (make a version the champion), reject, or rollback (go back to the previous
champion). Usually a person decides. With `register.promote: auto` in params.yaml, the stage
`register` promotes without a person. The record is the list of all events of a registered model
(see record.py).

First the event is written to the record. Then the alias `champion` is moved to the last champion in
the record. If the process crashes between these two steps, the alias stays on the old champion. In
this case the next decision moves the alias to the right version.
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
    the challenger. reason: the reason for the decision, at most LONGEST_REASON characters. by: the
    name of the person who decides, or a text that names the stage `register`. override: if True,
    the version is promoted even if it was rejected, either by a reviewer or by the gate (the
    automatic comparison with the champion).

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - The version does not exist, is the champion already, or was not registered by Fovea.
    - The model file of the version is missing or was changed.
    - The gate or a reviewer has rejected the version, and `override` is False.
    - Another person decided at the same moment, and only the decision of this person counts.
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
            f"{objection}; add --override to promote it nevertheless (the record will show the "
            f"override). Received: {version.number}"
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
    the challenger. reason: the reason for the decision, at most LONGEST_REASON characters. by: the
    name of the person who decides.

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - The version does not exist, or is the champion.
    - Another person decided at the same moment, and only the decision of this person counts.
    """
    connect()
    why = one_line_reason(reason)
    version = _version_to_decide_on(name, wanted)
    # The champion cannot be rejected. Usually the champion has the alias `champion`. But if an
    # earlier promotion was interrupted, the promoted version is only the last champion in the
    # record, and does not have the alias yet. Such a version cannot be rejected either, because
    # `_decide` below would give it the alias.
    line = line_of_champions(history(name), _number_of_champion(name))
    if CHAMPION in version.aliases or version.number == line[-1]:
        raise UserError(
            "the champion cannot be rejected; use `fovea rollback` to go back to the previous "
            f"champion. Received: {version.number}"
        )
    event = _decide(name, Event("reject", version.number, None, None, by, why))
    tag_version(name, version.number, {REVIEW: REJECTED, f"{REVIEW}.reason": why})
    _release_challenger(name, version.number)
    return event


def rollback(name: str, reason: str, by: str) -> Event:
    """Make the previous champion the champion again, and return the event in the record.

    name: the name of the registered model. reason: the reason for the decision, at most
    LONGEST_REASON characters. by: the name of the person who decides.

    Raises UserError in these cases:

    - MLflow does not answer.
    - The reason is empty or too long.
    - There is no champion, or the record has no previous champion.
    - The previous champion was deleted in MLflow, or was not registered by Fovea.
    - The model file of the previous champion is missing or was changed.
    - Another person decided at the same moment, and only the decision of this person counts.
    """
    connect()
    why = one_line_reason(reason)
    line = line_of_champions(history(name), _number_of_champion(name))
    present, before = line[-1], line[-2] if len(line) > 1 else None
    if present is None or before is None:
        champion_now = f"champion version {present}" if present else "no champion"
        raise UserError(
            f"{name} has no previous champion; use `fovea promote` to choose another version. "
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

    event: the event without a key and without from_version. If the event is a rejection, to_version
    is missing, too. The missing fields are set here.

    If two processes write an event at the same moment, the two events can have the same number.
    Then only the event whose key sorts first counts. Raises UserError if the event of this process
    is the event that does not count.
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
            f"({rival.kind} version {rival.version}: {rival.why}); look at `fovea history`, and "
            "repeat the command if your decision is still right. "
            f"Received: {mine.kind} version {mine.version}"
        )
    return mine


def _follow(name: str) -> None:
    """Move the alias `champion` to the last champion in the record.

    Several processes can write to the record at the same moment. So each process reads the record
    again after it has moved the alias. If the record has changed, the process moves the alias
    again. The last process to finish has read the complete record. So in the end the alias is on
    the last champion in the complete record.
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
                # in one process. But the alias exists now, so the loop starts again. If the alias
                # does not exist, the exception has another cause and is raised again.
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
    # If there is no challenger, find_version raises a UserError that lists the existing versions.
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
