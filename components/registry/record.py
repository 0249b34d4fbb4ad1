"""Tags of a registered model ⇄ the append-only record of who moved the champion, when and why.

Each event is one tag, which is written once and never changed. The key of the tag is
`fovea.event.<number>.<UTC time>.<random>`, so sorting the keys gives the order of the events. The
number is one more than the highest number that the writing process has read. If two processes write
at the same moment, their events have the same number. Then the event whose key sorts first counts.
The other event stays in the record and is called superseded
(docs/decisions/aliases-and-history.md).
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from components.errors import UserError, one_line

PREFIX = "fovea.event."
# The maximum number of characters of a reason. A tag has at most 5,000 characters in some stores.
LONGEST_REASON = 2_000

Kind = Literal["promote", "reject", "rollback"]


@dataclass(frozen=True)
class Event:
    """One entry of the record: what was decided about `version`, by whom and why.

    from_version, to_version: the champion before and after the decision; None if there is none.
    when: UTC, ISO 8601. override: True if the version was promoted although the gate or a reviewer
    had rejected it. key: the key of the tag. superseded: True if another event with the same number
    came first, so this event does not count.
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
        """Return the number in the key. The first event has the number 1."""
        return int(self.key.removeprefix(PREFIX).split(".", 1)[0])

    def between(self, before: int | None, after: int | None) -> "Event":
        """Return a copy of the event with the champion before and after it."""
        return replace(self, from_version=before, to_version=after)


def with_key(event: Event, record: Sequence[Event]) -> Event:
    """Return a copy of the event with the current time and the next key after those of `record`."""
    now = datetime.now(UTC)
    number = max((earlier.number for earlier in record), default=0) + 1
    key = f"{PREFIX}{number:06d}.{now:%Y%m%dT%H%M%S.%fZ}.{secrets.token_hex(4)}"
    return replace(event, when=now.isoformat(timespec="seconds"), key=key)


def to_tag(event: Event) -> str:
    """Return the value of the tag: JSON of all fields except `key` and `superseded`."""
    fields = asdict(event)
    kept = {name: fields[name] for name in fields if name not in ("key", "superseded")}
    return json.dumps(kept, ensure_ascii=False)


def read_record(tags: Mapping[str, str]) -> tuple[Event, ...]:
    """Return the events among a registered model's tags, oldest first."""
    events: list[Event] = []
    for key in sorted(key for key in tags if key.startswith(PREFIX)):
        event = Event(**json.loads(tags[key]), key=key)
        late = bool(events) and event.number == events[-1].number
        events.append(replace(event, superseded=late))
    return tuple(events)


def champions(record: Iterable[Event]) -> tuple[int | None, ...]:
    """Return the version numbers of the champions, oldest first; the last is the current champion.

    A rollback removes the current champion from this line, so a second rollback goes back by one
    more champion. The line starts with None, for the time before the first champion.

    After versions 1, 2 and 3 were promoted, the line is (None, 1, 2, 3). After a rollback it is
    (None, 1, 2).
    """
    line: list[int | None] = [None]
    for event in record:
        if event.superseded:
            continue
        # Between two events the alias can be moved without Fovea, for example on MLflow's page.
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

    held: the version that has the alias `champion` in MLflow; None if no version has it.

    If `held` is the champion before the last move of the record, the process that wrote this move
    has not moved the alias: it crashed, or will move the alias next. Then the record is right and
    `held` is not appended.
    """
    line = champions(record)
    moves = [
        event for event in record if not event.superseded and event.from_version != event.to_version
    ]
    interrupted = bool(moves) and held == moves[-1].from_version
    return line if held == line[-1] or interrupted else (*line, held)


def one_line_reason(reason: str) -> str:
    """Return the reason without line breaks.

    Raises UserError if it is empty or has more than LONGEST_REASON characters.
    """
    text = one_line(reason, longest=None)
    if not text or len(text) > LONGEST_REASON:
        raise UserError(
            f"--reason must explain the decision to later readers, in at most {LONGEST_REASON} "
            f"characters. Received: {text[:60]!r} ({len(text)} characters)"
        )
    return text
