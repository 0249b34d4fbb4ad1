import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from components.errors import UserError
from components.registry.record import (
    LONGEST_REASON,
    Event,
    Kind,
    champions,
    last_decision,
    last_move,
    moved_by_hand,
    one_line_reason,
    read_record,
    to_tag,
    with_key,
)


def event(kind: Kind, before: int | None, after: int | None, number: int = 1) -> Event:
    key = f"fovea.event.{number:06d}.20260101T000000.000000Z.00000000"
    return Event(kind, after or 0, before, after, "Ann", "because", key=key)


def written(events: Sequence[Event]) -> tuple[Event, ...]:
    tags = {each.key: to_tag(each) for each in reversed(events)}
    return read_record({**tags, "other": "tag"})


def test_what_is_written_is_read_back_oldest_first() -> None:
    first = with_key(event("promote", None, 1), [])
    second = with_key(replace(event("promote", 1, 2), why='"1" – [ä]'), [first])
    assert written([first, second]) == (first, second)
    assert (first.number, second.number) == (1, 2)


def test_the_tags_in_a_store_keep_their_names_and_fields() -> None:
    first = with_key(event("promote", None, 1), [])
    assert re.fullmatch(r"fovea\.event\.000001\.\d{8}T\d{6}\.\d{6}Z\.[0-9a-f]{8}", first.key)
    assert first.moved_key == first.key.replace("event", "moved")
    tree = json.loads(to_tag(first))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", tree.pop("when"))
    assert tree == {
        "kind": "promote",
        "version": 1,
        "from_version": None,
        "to_version": 1,
        "who": "Ann",
        "why": "because",
        "override": False,
        "overridden": "",
        "model_id": "",
    }


def test_the_longest_reason_in_any_language_fits_into_a_tag() -> None:
    longest = replace(event("promote", 1, 2), why="ä" * LONGEST_REASON)
    assert len(to_tag(longest)) < 5_000


def test_a_new_event_has_the_highest_number() -> None:
    record = [event("promote", None, 1), event("promote", 1, 2, number=2)]
    assert with_key(event("promote", 2, 3), record).number == 3


def test_of_two_events_with_one_number_the_first_counts() -> None:
    rivals = [
        replace(event("promote", 1, version), key=f"fovea.event.000002.{when}.00000000")
        for version, when in ((2, "20260101T000000.000001Z"), (3, "20260101T000000.000002Z"))
    ]
    record = written([event("promote", None, 1), *rivals])
    assert [each.superseded for each in record] == [False, False, True]
    assert champions(record) == (None, 1, 2)


def test_rollbacks_go_back_one_by_one() -> None:
    record = [
        event("promote", None, 1),
        event("promote", 1, 2),
        event("promote", 2, 3),
        event("rollback", 3, 2),
        event("rollback", 2, 1),
    ]
    assert champions(record) == (None, 1)


def test_an_earlier_champion_that_is_promoted_again_can_be_rolled_back() -> None:
    record = [event("promote", None, 1), event("promote", 1, 2), event("promote", 2, 1)]
    assert champions(record) == (None, 1, 2, 1)
    assert champions([*record, event("rollback", 1, 2)]) == (None, 1, 2)


def test_a_rollback_to_a_version_that_is_in_no_event_before_it_appends_this_version() -> None:
    assert champions([event("promote", None, 2), event("rollback", 2, 1)]) == (None, 2, 1)


def test_the_last_move_is_neither_a_rejection_nor_superseded() -> None:
    promoted = event("promote", None, 1)
    late = replace(event("promote", None, 2), superseded=True)
    assert last_move([promoted, late, event("reject", 1, 1, number=2)]) is promoted


def test_a_decision_is_found_by_number_and_by_model_and_an_old_one_by_number() -> None:
    old = replace(event("reject", 1, 1), version=2)  # an older Fovea wrote no model_id
    new = replace(event("reject", 1, 1, 2), version=3, model_id="c0ffee")
    record = [event("promote", None, 1), old, new]
    assert last_decision(record, 2, "feed") == old
    assert last_decision(record, 4, "c0ffee") == new
    assert last_decision(record, 4, "") is None
    assert [each.declines for each in record] == [False, True, True]
    by_hand = replace(event("by hand", 1, 3, 3), version=3)
    superseded = replace(event("promote", 1, 3, 3), superseded=True)
    assert last_decision([*record, by_hand, superseded], 3, "c0ffee") == new


def test_a_rejection_moves_no_champion() -> None:
    assert champions([event("promote", None, 1), event("reject", 1, 1)]) == (None, 1)


def test_a_move_outside_the_record_can_be_gone_back_to() -> None:
    record = [event("promote", None, 1), event("promote", 5, 2)]
    assert champions(record) == (None, 1, 5, 2)


def test_a_move_by_hand_is_told_from_an_interrupted_move() -> None:
    record = [event("promote", None, 1), event("promote", 1, 2, number=2)]
    found = {held: moved_by_hand(record, held) for held in (1, 2, 7, None)}
    assert found == {1: False, 2: False, 7: True, None: True}


def test_an_alias_on_a_champion_before_the_last_move_is_by_hand() -> None:
    record = [event("promote", before, before + 1, number=before) for before in (1, 2, 3)]
    assert moved_by_hand(record, held=2)
    assert not moved_by_hand(record, held=3)


def test_after_the_alias_was_moved_every_other_place_is_by_hand() -> None:
    record = [event("promote", None, 1), replace(event("promote", 1, 2, number=2), moved=True)]
    found = {held: moved_by_hand(record, held) for held in (1, 2, 7, None)}
    assert found == {1: True, 2: False, 7: True, None: True}


def test_an_alias_where_a_superseded_event_put_it_is_not_by_hand() -> None:
    late = replace(event("promote", 1, 3, number=2), superseded=True)
    record = [event("promote", None, 1), event("promote", 1, 2, number=2), late]
    assert not moved_by_hand(record, held=3)


def test_without_a_record_any_champion_is_by_hand() -> None:
    assert moved_by_hand([], held=3)
    assert not moved_by_hand([], held=None)


def test_a_move_is_read_from_its_tag_and_fields_of_a_newer_fovea_are_ignored() -> None:
    first = with_key(event("promote", None, 1), [])
    tag = to_tag(first).replace("{", '{"newer": 1, ', 1)
    assert [each.moved for each in read_record({first.key: tag})] == [False]
    (read,) = read_record({first.key: tag, first.moved_key: "yes"})
    assert (read, read.moved) == (first, True)
    old = tag.replace(', "overridden": ""', "")
    assert [each.moved for each in read_record({first.key: old})] == [True]


def test_a_move_by_hand_needs_no_tag_about_its_move() -> None:
    (read,) = written([event("by hand", 1, 2)])
    assert read.moved


def test_a_reason_of_the_longest_length_is_kept_without_its_line_breaks() -> None:
    assert one_line_reason("two\nlines") == "two lines"
    assert one_line_reason("x" * 2_000) == "x" * 2_000


@pytest.mark.parametrize("reason", ["", "  \n ", "x" * 2_001])
def test_a_reason_must_be_given_and_be_short(reason: str) -> None:
    with pytest.raises(UserError, match="--reason"):
        one_line_reason(reason)
