import numpy as np
import pytest

from components.evaluation.guards import Change, changes
from components.evaluation.reasons import (
    CLASSES_SHOWN,
    account,
    below_floor,
    excluded_drops,
    harms,
    possible_harms,
)


def unchanged(sizes: list[int]) -> list[Change]:
    """Groups of so many images, none of them lost or gained."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    groups = {f"recall of {index}": labels == index for index in range(len(sizes))}
    right = np.ones(len(labels), bool)
    return list(changes(right, right, groups, 0.05, 0.95))


def test_the_widest_drops_come_first_and_the_rest_share_a_sentence():
    texts = excluded_drops(unchanged([300, 20, 8, *range(40, 50)]))
    assert texts[:2] == [
        "recall of 2: a drop above 0.33 is excluded, with 8 images; about 73 images would exclude "
        "a drop above 0.05",
        "recall of 1: a drop above 0.17 is excluded, with 20 images; about 73 images would exclude "
        "a drop above 0.05",
    ]
    assert len(texts) == 11
    assert texts[-1] == "for each of 2 more classes, a drop above 0.08 is excluded"


def test_the_widest_drop_of_the_rest_is_named():
    texts = excluded_drops(unchanged([8] * 10 + [60, 20]))
    assert texts[-1] == "for each of 2 more classes, a drop above 0.17 is excluded"
    texts = excluded_drops(unchanged([8] * 10 + [20]))
    assert texts[-1] == "for one more class, a drop above 0.17 is excluded"


@pytest.mark.parametrize(("images", "share"), [(1, "0.80"), (4, "0.49")])
def test_an_excluded_drop_is_rounded_up_to_the_next_hundredth(images, share):
    (text,) = excluded_drops(unchanged([images]))
    assert text.startswith(f"recall of 0: a drop above {share} is excluded")


def test_one_image_and_one_class_are_singular():
    first, *_, last = excluded_drops(unchanged([1, *range(40, 50)]))
    assert "is excluded, with 1 image; about" in first
    assert last == "for one more class, a drop above 0.08 is excluded"


@pytest.mark.parametrize("sizes", [[73, 300], [300]])
def test_large_classes_need_one_sentence(sizes):
    assert excluded_drops(unchanged(sizes)) == [
        "a drop of the recall above 0.05 is excluded for every class"
    ]


def test_earlier_comparisons_are_counted_in_the_singular_and_the_plural():
    assert account(1, 0.01)[0].startswith("1 comparison on this test split before this one")
    assert account(2, 0.01)[0].startswith("2 comparisons on this test split before this one")


def dropped(lost: list[int], images: int) -> list[Change]:
    """Groups of equal size that lost so many images and gained none."""
    labels = np.repeat(np.arange(len(lost)), images)
    groups = {f"recall of {index}": labels == index for index in range(len(lost))}
    right = np.arange(len(labels)) % images >= np.array(lost)[labels]
    return list(changes(np.ones(len(labels), bool), right, groups, 0.05, 0.95))


def test_the_lowest_of_many_recalls_below_the_floor_are_named_and_the_rest_is_counted():
    recalls = {f"class {n}": (n * 37 % 60) / 100 for n in range(60)} | {"absent": float("nan")}
    texts = below_floor(recalls, 0.5)
    assert texts[0] == "recall of class 0 0.000 is below its floor of 0.5"
    shown = [float(text.split()[4]) for text in texts[:-1]]
    assert shown == [n / 100 for n in range(CLASSES_SHOWN)]
    assert texts[-1] == "the recall is below its floor for 40 more classes; verdict.json has all"
    assert below_floor({"a": 0.5, "b": 0.9}, 0.5) == []
    assert len(below_floor(dict.fromkeys("abcdefghij", 0.4), 0.5)) == 10


@pytest.mark.parametrize(
    ("sentences", "each", "rest"),
    [
        (harms, 1, "the recall dropped as significantly for 15 more classes"),
        (possible_harms, 2, "the recall may have dropped too much for 15 more classes"),
    ],
)
def test_the_largest_of_many_drops_are_named_and_the_rest_is_counted(sentences, each, rest):
    lost = [11 + n * 7 % 25 for n in range(25)]
    texts = sentences(dropped(lost, 40))
    assert len(texts) == each * CLASSES_SHOWN + 1
    assert [int(text.split(": ")[1].split()[0]) for text in texts[:-1:each]] == [*range(35, 25, -1)]
    assert texts[-1] == f"{rest}; verdict.json has all"
    few = sentences(dropped([30, 0, 20], 40))
    assert [text.split(" dropped")[0] for text in few[::each]][:2] == ["recall of 0", "recall of 2"]


def test_a_drop_that_chance_can_make_is_no_harm():
    assert harms(dropped([0, 1, 2], 40)) == []
