"""Tags of a registered model in MLflow ⇄ the record, the list of all decisions about its versions.

The record says who decided what about a version, when and why. Each decision is an event, and each
event is stored as one tag, which is written once and never changed. The key of the tag is
`fovea.event.<number>.<UTC time>.<random>`. The events are sorted by their keys. Before a process
writes an event, it reads the record. The number of the new event is the highest number in the
record plus 1.

After the alias `champion` has been moved to where an event says, the tag
`fovea.moved.<number>.<UTC time>.<random>` is written. So an alias that is somewhere else was either
not moved yet (the tag is missing: the process of the event was interrupted), or it was moved again
by hand (the tag exists).

If two processes write at the same moment, their events can have the same number. Then only the
event whose key sorts first counts. The other event is called "superseded". It also stays in the
record. See docs/decisions/aliases-and-history.md.

The champion is the version that is in use. It has the alias `champion` in MLflow.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Literal

from components.errors import UserError, one_line

PREFIX = "fovea.event."
MOVED_PREFIX = "fovea.moved."
# The maximum number of characters of a reason. Some MLflow stores allow at most 5,000 characters in
# a tag, and the tag of an event contains the reason and more fields.
LONGEST_REASON = 2_000

Kind = Literal["promote", "reject", "rollback", "by hand"]
BY_HAND: Kind = "by hand"
# The fields of an event that are not in its tag: they are in the key and in other tags.
NOT_IN_TAG = ("key", "superseded", "moved")


@dataclass(frozen=True)
class Event:
    """One decision of a person or of the stage `register` about one version.

    kind: the kind of the decision; `by hand` if a person moved the alias `champion` in MLflow,
    without Fovea. version: the number of the version; for a rollback, or if the alias was removed
    by hand, the number of the version that stops being the champion (for a rollback without a
    champion, the number of the version that becomes the champion). from_version: the number of
    the champion before the decision; None if there was no champion. to_version: the number of the
    champion after the decision; None if there is no champion. who: the name of the person who
    decided, or a text that names the stage `register`. why: the reason. when: the time of the
    decision, UTC in ISO 8601; of a move by hand, the time when Fovea noticed it.
    override: True if the new champion is one that Fovea promotes only with `--override`.
    overridden: the reasons for which `--override` was needed, such as `its verdict is hold (…)`;
    empty if it was not needed. model_id: the sha256 of the version's model file; empty if it is not
    known, or if an older Fovea wrote the event. key: the key of the tag. superseded: True if this
    event does not count, because the key of another event with the same number sorts first. moved:
    True if the alias was moved to where the event says.
    """

    kind: Kind
    version: int
    from_version: int | None
    to_version: int | None
    who: str
    why: str
    when: str = ""
    override: bool = False
    overridden: str = ""
    model_id: str = ""
    key: str = ""
    superseded: bool = False
    moved: bool = field(default=False, compare=False)

    @property
    def number(self) -> int:
        """Return the number of the event, which is a part of its key. The first number is 1."""
        return int(self.key.removeprefix(PREFIX).split(".", 1)[0])

    @property
    def moved_key(self) -> str:
        """Return the key of the tag that says that the alias was moved."""
        return MOVED_PREFIX + self.key.removeprefix(PREFIX)

    @property
    def declines(self) -> bool:
        """Return True if a reviewer rejected the version, or stopped using it by a rollback."""
        return self.kind in ("reject", "rollback") and self.version != self.to_version

    def between(self, before: int | None, after: int | None) -> "Event":
        """Return a copy with from_version set to `before` and to_version set to `after`."""
        return replace(self, from_version=before, to_version=after)

    def with_overridden(self, objections: str) -> "Event":
        """Return a copy that says what was overridden; without objections, nothing was."""
        return replace(self, override=bool(objections), overridden=objections)


FIELDS = frozenset(found.name for found in fields(Event)) - set(NOT_IN_TAG)


def with_key(event: Event, record: Sequence[Event]) -> Event:
    """Return a copy of the event with `when` set to the current time and `key` set to a new key.

    The number in the new key is the highest number in `record` plus 1.
    """
    now = datetime.now(UTC)
    number = max((earlier.number for earlier in record), default=0) + 1
    key = f"{PREFIX}{number:06d}.{now:%Y%m%dT%H%M%S.%fZ}.{secrets.token_hex(4)}"
    return replace(event, when=now.isoformat(timespec="seconds"), key=key)


def to_tag(event: Event) -> str:
    """Return the value of the event's tag: JSON of all fields except those in NOT_IN_TAG."""
    kept = {name: value for name, value in asdict(event).items() if name not in NOT_IN_TAG}
    return json.dumps(kept, ensure_ascii=False)


def read_record(tags: Mapping[str, str]) -> tuple[Event, ...]:
    """Return the events in the tags of a registered model, oldest first.

    tags: key → value of all tags of the registered model. Tags that are not events are ignored.
    """
    events: list[Event] = []
    for key in sorted(key for key in tags if key.startswith(PREFIX)):
        tree = json.loads(tags[key])
        # A newer Fovea may write more fields.
        event = Event(**{name: tree[name] for name in tree if name in FIELDS}, key=key)
        late = bool(events) and event.number == events[-1].number
        # An older Fovea wrote neither the field `overridden` nor a tag about the move. A move by
        # hand is older than its event.
        old = "overridden" not in tree
        moved = old or event.kind == BY_HAND or event.moved_key in tags
        events.append(replace(event, superseded=late, moved=moved))
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
        # An older Fovea wrote no event for a move by hand. Then from_version of the next event
        # differs from the last entry, and is appended first.
        if event.from_version != line[-1]:
            line.append(event.from_version)
        if event.kind == "rollback" and event.to_version in line:
            while line[-1] != event.to_version:
                line.pop()
        elif event.to_version != line[-1]:
            line.append(event.to_version)
    return tuple(line)


def last_move(record: Sequence[Event]) -> Event | None:
    """Return the last event that changed the champion; None if there is no such event."""
    moves = (
        event
        for event in reversed(record)
        if not event.superseded and event.from_version != event.to_version
    )
    return next(moves, None)


def last_decision(record: Sequence[Event], number: int, model_id: str) -> Event | None:
    """Return the last decision about a version, or about another version of the same model.

    Example: version 1 is rejected, and deleted in MLflow. Then `fovea register` registers the same
    model as version 2. The rejection is also the last decision about version 2.

    number: the number of the version. model_id: the sha256 of its model file; empty if unknown. A
    move of the alias by hand is no decision. Returns None if there is no decision.
    """
    decisions = (
        event
        for event in reversed(record)
        if not event.superseded
        and event.kind != BY_HAND
        and (event.version == number or (model_id and event.model_id == model_id))
    )
    return next(decisions, None)


def moved_by_hand(record: Sequence[Event], held: int | None) -> bool:
    """Return True if a person has moved the alias `champion` since the last event, without Fovea.

    held: the number of the version that has the alias in MLflow; None if no version has it.

    If `held` is not the last champion in the record, there are two cases:

    - The process of the last event was interrupted, or still runs: the tag about its move is
      missing, and the alias is where it was before the event, or where a superseded event with the
      same number put it for a moment.
    - In every other case, a person has moved or removed the alias, or deleted the champion.

    Example: version 1 is the champion, and version 2 is promoted. If the process is killed before
    it moves the alias, the alias is on version 1 and the tag is missing: interrupted. If the alias
    is on version 1 and the tag exists, a person has moved it back.
    """
    if held == champions(record)[-1]:
        return False
    last = last_move(record)
    if last is None or last.moved:
        return True
    rivals = [event.to_version for event in record if event.number == last.number]
    return held not in (last.from_version, *rivals)


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
