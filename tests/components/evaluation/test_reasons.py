import numpy as np

from components.evaluation.guards import Change, changes
from components.evaluation.reasons import excluded_drops


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


def test_one_image_and_one_class_are_singular():
    first, *_, last = excluded_drops(unchanged([1, *range(40, 50)]))
    assert "is excluded, with 1 image; about" in first
    assert last == "for one more class, a drop above 0.08 is excluded"


def test_large_classes_need_one_sentence():
    assert excluded_drops(unchanged([73, 300])) == [
        "a drop of the recall above 0.05 is excluded for every class"
    ]
