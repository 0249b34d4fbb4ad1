"""Tags of a registered model ⇄ the append-only record of who moved the champion, when and why.

Each event is a tag of its own, written once under a key that sorts:
`fovea.event.<number>.<UTC time>.<random>`. The number is one more than the highest that the writer
saw. Where two write at once, both take the same number; the event whose key sorts first counts, the
other stays on record as superseded (docs/decisions/aliases-and-history.md).
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from components.errors import UserError, one_line

PREFIX = "fovea.event."
LONGEST_REASON = 2_000  # characters; some stores hold 5,000 in a tag

Kind = Literal["promote", "reject", "rollback"]


@dataclass(frozen=True)
class Event:
    """One entry: what was done to `version`, and the champion before and after it.

    when: UTC, ISO 8601. override: it was done against a verdict `reject`, or a reviewer's.
    superseded: another event of the same number came first, and this one does not count.
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
        """Return its place in the record, from 1."""
        return int(self.key.removeprefix(PREFIX).split(".", 1)[0])

    def between(self, before: int | None, after: int | None) -> "Event":
        """Return the event with the champion before and after it."""
        return replace(self, from_version=before, to_version=after)


def with_key(event: Event, record: Sequence[Event]) -> Event:
    """Return the event with its time and the key under which it follows the record."""
    now = datetime.now(UTC)
    number = max((earlier.number for earlier in record), default=0) + 1
    key = f"{PREFIX}{number:06d}.{now:%Y%m%dT%H%M%S.%fZ}.{secrets.token_hex(4)}"
    return replace(event, when=now.isoformat(timespec="seconds"), key=key)


def to_tag(event: Event) -> str:
    """Return the tag's value: JSON without what the key says already."""
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
    """Return the champions that a rollback could return to, oldest first, the present one last.

    A rollback takes the present one away, so that two in a row go back by two. None stands for the
    time without a champion, at the start.
    """
    line: list[int | None] = [None]
    for event in record:
        if event.superseded:
            continue
        if event.from_version != line[-1]:  # moved meanwhile by other means than Fovea
            line.append(event.from_version)
        if event.kind == "rollback" and event.to_version in line:
            while line[-1] != event.to_version:
                line.pop()
        elif event.to_version != line[-1]:
            line.append(event.to_version)
    return tuple(line)


def line_of_champions(record: Sequence[Event], held: int | None) -> tuple[int | None, ...]:
    """Return `champions(record)`, and after them what the alias is on, where it left the record.

    held: the version that the alias is on. Where that is the champion before the last move, the
    move was interrupted between record and alias, or is about to be finished: the record counts.
    """
    line = champions(record)
    moves = [
        event for event in record if not event.superseded and event.from_version != event.to_version
    ]
    interrupted = bool(moves) and held == moves[-1].from_version
    return line if held == line[-1] or interrupted else (*line, held)


def one_line_reason(reason: str) -> str:
    """Return the reason in one line. Raises UserError where there is none, or a whole page."""
    text = one_line(reason, longest=None)
    if not text or len(text) > LONGEST_REASON:
        raise UserError(
            f"--reason must be a sentence of at most {LONGEST_REASON} characters that will still "
            f"mean something next year. Received: {text[:60]!r} ({len(text)} characters)"
        )
    return text
