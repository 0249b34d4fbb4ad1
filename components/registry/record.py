"""Tags of a registered model in MLflow ⇄ the record, the list of all decisions about its versions.

The record says who decided what about a version, when and why. Each decision is an event, and each
event is stored as one tag, which is written once and never changed. The key of the tag is
`fovea.event.<number>.<UTC time>.<random>`. The events are sorted by their keys. Before a process
writes an event, it reads the record. The number of the new event is the highest number in the
record plus 1.

If two processes write at the same moment, their events can have the same number. Then only the
event whose key sorts first counts. The other event is called "superseded". It also stays in the
record. See docs/decisions/aliases-and-history.md.

The champion is the version that is in use. It has the alias `champion` in MLflow.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from components.errors import UserError, one_line

PREFIX = "fovea.event."
# The maximum number of characters of a reason. Some MLflow stores allow at most 5,000 characters in
# a tag, and the tag of an event contains the reason and more fields.
LONGEST_REASON = 2_000

Kind = Literal["promote", "reject", "rollback"]


@dataclass(frozen=True)
class Event:
    """One decision of a person or of the stage `register` about one version.

    kind: the kind of the decision. version: the number of the version; for a rollback, the number
    of the version that stops being the champion. from_version: the number of the champion before
    the decision; None if there was no champion. to_version: the number of the champion after the
    decision; None if there is no champion. who: the name of the person who decided, or a text that
    names the stage `register`. why: the reason. when: the time of the decision, UTC in ISO 8601.
    override: True if the version was promoted although a reviewer or the gate had rejected it (the
    gate is the automatic comparison with the champion). key: the key of the tag. superseded: True
    if this event does not count, because the key of another event with the same number sorts first.
    """

    kind: Kind
    version: int
    from_version: int | None
    to_version: int | None
    who: str
    why: str
    when: str = ""
    override: bool = False
    key: str = ""
    superseded: bool = False

    @property
    def number(self) -> int:
        """Return the number of the event, which is a part of its key. The first number is 1."""
        return int(self.key.removeprefix(PREFIX).split(".", 1)[0])

    def between(self, before: int | None, after: int | None) -> "Event":
        """Return a copy with from_version set to `before` and to_version set to `after`."""
        return replace(self, from_version=before, to_version=after)


def with_key(event: Event, record: Sequence[Event]) -> Event:
    """Return a copy of the event with `when` set to the current time and `key` set to a new key.

    The number in the new key is the highest number in `record` plus 1.
    """
    now = datetime.now(UTC)
    number = max((earlier.number for earlier in record), default=0) + 1
    key = f"{PREFIX}{number:06d}.{now:%Y%m%dT%H%M%S.%fZ}.{secrets.token_hex(4)}"
    return replace(event, when=now.isoformat(timespec="seconds"), key=key)


def to_tag(event: Event) -> str:
    """Return the value of the event's tag: JSON of all fields except `key` and `superseded`."""
    fields = asdict(event)
    kept = {name: fields[name] for name in fields if name not in ("key", "superseded")}
    return json.dumps(kept, ensure_ascii=False)


def read_record(tags: Mapping[str, str]) -> tuple[Event, ...]:
    """Return the events in the tags of a registered model, oldest first.

    tags: key → value of all tags of the registered model. Tags that are not events are ignored.
    """
    events: list[Event] = []
    for key in sorted(key for key in tags if key.startswith(PREFIX)):
        event = Event(**json.loads(tags[key]), key=key)
        late = bool(events) and event.number == events[-1].number
        events.append(replace(event, superseded=late))
    return tuple(events)


def champions(record: Iterable[Event]) -> tuple[int | None, ...]:
    """Return the version numbers of the champions in the record, oldest first.

    The first entry is None, for the time before the first champion. The last entry is the current
    champion, or None if there is no champion. A promotion appends its version. A rollback removes
    entries from the end until the last entry is the to_version of the rollback. Superseded events
    are ignored.

    Example: versions 1, 2 and 3 are promoted. Then the result is (None, 1, 2, 3). After a rollback
    to version 2 the result is (None, 1, 2). After one more rollback the result is (None, 1).
    """
    line: list[int | None] = [None]
    for event in record:
        if event.superseded:
            continue
        # Between two events a person can move the alias `champion` without Fovea, for example on
        # MLflow's page. Then from_version differs from the last entry, and is appended first.
        if event.from_version != line[-1]:
            line.append(event.from_version)
        if event.kind == "rollback" and event.to_version in line:
            while line[-1] != event.to_version:
                line.pop()
        elif event.to_version != line[-1]:
            line.append(event.to_version)
    return tuple(line)


def line_of_champions(record: Sequence[Event], held: int | None) -> tuple[int | None, ...]:
    """Return `champions(record)`, plus `held` if the alias was moved without Fovea.

    held: the number of the version that has the alias `champion` in MLflow; None if no version has
    this alias.

    If `held` is the last champion in the record, nothing is appended. Otherwise there are two
    cases:

    - `held` is the from_version of the last event that changed the champion. Then it is assumed
      that the process that wrote this event has not moved the alias: it crashed, or it will move
      the alias soon. So the record is right, and `held` is not appended.
    - In every other case, a person has moved or deleted the alias without Fovea. So `held` is the
      current champion, and is appended.
    """
    line = champions(record)
    moves = [
        event for event in record if not event.superseded and event.from_version != event.to_version
    ]
    interrupted = bool(moves) and held == moves[-1].from_version
    return line if held == line[-1] or interrupted else (*line, held)


def one_line_reason(reason: str) -> str:
    """Return the reason without line breaks.

    Raises UserError if the reason is empty or has more than LONGEST_REASON characters.
    """
    text = one_line(reason, longest=None)
    if not text or len(text) > LONGEST_REASON:
        raise UserError(
            f"--reason must be a text of 1 to {LONGEST_REASON} characters that explains the "
            f"decision. Received: {text[:60]!r} ({len(text)} characters)"
        )
    return text
