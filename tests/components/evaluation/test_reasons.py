import numpy as np
import pytest

from components.evaluation.guards import Change, changes
from components.evaluation.reasons import account, excluded_drops


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
