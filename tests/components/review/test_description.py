import re
from dataclasses import replace

import mistune
import pytest

from components.pages.markdown import GAP, SPACE, text
from components.review.description import (
    BEGIN,
    END,
    FACTS,
    LONGEST,
    LONGEST_FACTS,
    REST,
    read_description,
    room_for_facts,
    tag_facts,
    verdict_facts,
    write_description,
)
from components.review.facts import Judged
from tests.components.review.judged import HOSTILE, judged, model, weak

LINKS = {"Register report": "#/experiments/1/runs/a/artifacts/1-register-report/digits/report.html"}


def facts_of(about: Judged) -> str:
    """The facts of a verdict, without the space between the columns."""
    facts = verdict_facts(about, LINKS)
    assert len(facts) <= LONGEST_FACTS
    return facts.replace(GAP, "").replace(SPACE, " ")


def test_what_people_write_before_and_after_stays() -> None:
    first = write_description("Ann's words.\n", "**Champion**", "figures")
    assert first.startswith(f"Ann's words.\n\n**Champion** {BEGIN}\n")
    edited = f"{first}\n\nBob's words"
    again = write_description(edited, "**Earlier champion**", "figures")
    assert again == first.replace("**Champion**", "**Earlier champion**") + "\n\nBob's words"
    parts = read_description(again)
    assert (parts.status, parts.facts) == ("**Earlier champion**", "figures")


def test_a_list_that_shows_how_a_description_begins_shows_the_status() -> None:
    status = "**Champion** since today.\n\nmore\n\n```\ncode\n```"
    whole = write_description("", status, "facts")
    assert whole.startswith("**Champion** since today. <!--")
    assert read_description(whole).status == status


def test_writing_the_same_again_changes_nothing() -> None:
    for before in ("", "words", "words\n\n"):
        once = write_description(before, "status", "facts")
        assert write_description(once, "status", "facts") == once


def test_people_may_write_directly_above_what_fovea_writes() -> None:
    written = "words\n" + write_description("", "status", "facts")
    assert write_description(written, "status", "facts") == written


@pytest.mark.parametrize("lost", [BEGIN, END, FACTS])
def test_a_block_whose_comment_somebody_deleted_belongs_to_people(lost: str) -> None:
    broken = write_description("", "old status", "old facts").replace(lost, "")
    once = write_description(broken, "new status", "new facts")
    assert once.startswith(broken.rstrip())
    twice = write_description(once, "newer status", "new facts")
    assert "old status" in twice
    assert "new status" not in twice
    assert twice.count("new facts") == 1


def test_a_long_text_of_people_is_kept_and_ours_gets_the_rest() -> None:
    facts = "\n\n".join(f"paragraph {number} " + "x" * 80 for number in range(40))
    for words in (0, 1_000, 4_000, 4_500, 4_700, 4_990, 5_000):
        written = "w" * words
        whole = write_description(written, "**Champion**", facts)
        assert len(whole) <= LONGEST
        assert whole.startswith(written)
        assert ("**Champion**" in whole) == (words < 4_600), words


def test_where_people_left_too_little_room_only_their_words_stay() -> None:
    for above in ("", "words\n\n"):
        written = f"{above}{write_description('', 'status', 'facts')}\n\n{'w' * 4_700}"
        again = write_description(written, "status", "facts")
        assert again == f"{above}\n\n{'w' * 4_700}"
        assert write_description(again, "status", "facts") == again


def test_a_long_status_leaves_less_room_for_the_facts() -> None:
    status = "\n\n".join(["**Champion**", *["s" * 100] * 10])
    for words in range(3_000, 4_000, 100):
        whole = write_description("w" * words, status, "\n\n".join(["f" * 50] * 40))
        assert len(whole) <= LONGEST
        assert "s" * 100 in whole


@pytest.mark.parametrize("before", ["", "words", "words\n\n"])
def test_facts_that_fill_the_room_stay_whole(before: str) -> None:
    room = room_for_facts(before, "status")
    facts = "\n\n".join(["first", "x" * (room - len("first\n\n"))])
    whole = write_description(before, "status", facts)
    assert read_description(whole).facts == facts
    assert room == room_for_facts(before, "") - len("status")


def test_a_heading_stays_only_with_what_is_below_it() -> None:
    facts = verdict_facts(judged(champion=model(1), slices=[weak("dark")]), LINKS)
    for words in range(0, 4_700, 20):
        whole = write_description("w" * words, "Champion", facts)
        kept = read_description(whole).facts
        assert not re.search(rf"\n\*\*[^\n]*\n+({SPACE}|\*\*|…|$)", kept), words


def test_the_facts_have_verdict_figures_classes_lineage_and_link() -> None:
    facts = facts_of(judged(champion=model(1)))
    assert facts.startswith("**Verdict: promote**: significantly better than the champion")
    assert "| accuracy | 0.900 (0.850 – 0.950) | 0.800 (0.750 – 0.850) | +0.100 (" in facts
    assert facts.index("| paper |") < facts.index("| glass |")  # its recall rose less
    assert f"[Register report]({LINKS['Register report']})" in facts
    assert "- Code: commit cccccccccccc of 2026-11-20" in facts
    assert "\n- Data: images and labels dddddddddddd, the same as those of version 1" in facts
    assert "\n\n- Data" not in facts  # one list
    assert REST not in facts


def test_a_table_keeps_its_distance_from_what_follows() -> None:
    assert f"|\n\n{SPACE}\n**" in verdict_facts(judged(), LINKS)


def test_the_champion_is_not_compared_with_itself() -> None:
    facts = facts_of(judged(champion=model(2)))
    assert "the same as" not in facts


def test_without_a_comparison_the_figures_have_no_column_of_the_champion() -> None:
    alone = judged()
    facts = facts_of(replace(alone, champion=model(1)))
    assert "| metric | version 2 |" in facts
    assert "champion" not in facts[facts.index("| metric") :].split("\n\n")[0]


@pytest.mark.parametrize(("classes", "more"), [(5, ""), (6, "; 1 with better results left out")])
def test_the_weakest_classes_say_how_many_others_there_are(classes: int, more: str) -> None:
    facts = facts_of(judged([f"class {n}" for n in range(classes)]))
    assert f"**Recall of classes**, the lowest first{more}\n" in facts
    assert facts.count("| class ") == 5 + 1  # with the head of the table


def test_the_weakest_slices_have_figures_and_the_correction_for_looking_at_many() -> None:
    slices = [weak("dark"), weak("small", 0.0123), *(weak(f"slice {n}") for n in range(3))]
    facts = facts_of(judged(champion=model(1), slices=slices))
    shown = text("dark (dark at most 0.21)", None)
    assert f"| {shown} | 0.500 (0.350 – 0.650) | 40 | &#60;0.001 |" in facts
    assert "| 40 | 0.012 |" in facts
    assert "slice 1" not in facts
    assert "2 more slices are weak. All slices and pairs of slices with at least 10 images" in facts
    assert "corrected for their number (Holm, 1979)" in facts


def test_no_weak_slice_is_said_and_an_unknown_one_is_not() -> None:
    none = facts_of(judged(slices=[]))
    assert "No slice of the test images is surely weaker than the rest. All slices" in none
    assert "slice" not in facts_of(judged(slices=None))


def test_a_hundred_hostile_classes_stay_within_the_limit_and_are_no_markup() -> None:
    names = [f"{name} {number}" for number in range(15) for name in HOSTILE]
    reasons = [f"recall of {name} dropped" for name in names]
    slices = [weak(name * 20) for name in HOSTILE]
    facts = facts_of(judged(names, model(1), reasons=reasons, slices=slices))
    assert facts.endswith(REST)
    assert "| accuracy |" in facts
    shown = str(mistune.create_markdown(plugins=["table"], escape=False)(facts))
    assert set(re.findall(r"<(\w+)", shown)) <= {
        *("p", "strong", "ul", "li", "a"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert re.findall(r'href="([^"]*)"', shown) in ([], [LINKS["Register report"]])
    assert "<img" not in shown


def test_reasons_leave_room_for_figures_and_lineage() -> None:
    facts = facts_of(judged(champion=model(1), reasons=["<" * 300] * 40))
    assert "| accuracy |" in facts
    assert "- Code: commit" in facts


def test_reasons_of_any_length_fill_the_room_and_no_more() -> None:
    lengths = []
    for size in range(1, 300, 3):
        reasons = ["first", *["z" * 300] * 8, "y" * size]
        facts = verdict_facts(judged(champion=model(1), reasons=reasons), LINKS)
        assert facts.endswith(REST)
        lengths.append(len(facts))
    assert LONGEST_FACTS - 25 <= max(lengths) <= LONGEST_FACTS


def test_an_old_version_has_what_its_tags_say() -> None:
    old = model(1, {"verdict": "hold", "reasons": "no gain", "git.commit": "c" * 40, "seed": "17"})
    facts = tag_facts(old)
    assert facts.startswith("**Verdict: hold**: no gain")
    assert "- Seed of the training: 17" in facts
    assert "- Data: not recorded" in facts
    assert tag_facts(model(1, {})).startswith("It was registered without a verdict.")


def test_the_words_of_a_reviewer_do_not_end_the_block() -> None:
    whole = write_description("", text(f"why {END}", None), "facts")
    assert whole.count(END) == 1
