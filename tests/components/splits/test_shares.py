"""How close each class comes to the shares, and what a split says of itself."""

import pandas as pd
import pytest

from components.splits.filling import Move
from components.splits.shares import Gap, in_words, shares, widest_gap
from components.splits.splits import Splits
from tests.components.splits.split_tables import SPLIT

LABELS = ["dog"] * 10 + ["cat"] * 10
SPLITS = ["train"] * 8 + ["val"] * 2 + ["train"] * 7 + ["val"] * 2 + ["test"]
ROWS = pd.DataFrame({"label": LABELS, "split": SPLITS})


def said(rows: pd.DataFrame = ROWS, aside: int = 0, moves: tuple[Move, ...] = ()) -> list[str]:
    set_aside = pd.DataFrame({"reason": ["near_copy_in_train"] * aside})
    return list(in_words(Splits(rows, set_aside, moves), shares(rows, SPLIT), "set_aside.parquet"))


def test_every_class_has_a_row_for_every_split_also_where_it_has_nothing() -> None:
    assert shares(ROWS, SPLIT).to_numpy().tolist() == [
        ["cat", "train", 7, 0.7, 0.7],
        ["cat", "val", 2, 0.2, 0.15],
        ["cat", "test", 1, 0.1, 0.15],
        ["dog", "train", 8, 0.8, 0.7],
        ["dog", "val", 2, 0.2, 0.15],
        ["dog", "test", 0, 0.0, 0.15],
    ]
    assert shares(ROWS, SPLIT).columns.tolist() == ["label", "side", "images", "share", "asked"]


def test_the_widest_gap_is_found_also_where_a_split_has_nothing() -> None:
    gap = widest_gap(shares(ROWS, SPLIT))
    assert gap == Gap("dog", "test", images=0, of=10, asked=0.15)
    assert gap.in_words() == "class dog, test 0.0% (0 of 10) instead of 15.0%"


def test_the_shares_of_a_class_are_shares_of_its_own_images() -> None:
    dogs = pd.DataFrame({"label": ["dog"] * 3, "split": ["train", "val", "test"]})
    table = shares(pd.concat([ROWS[10:], dogs]), SPLIT)
    assert table.loc[table["label"] == "dog", "share"].tolist() == [0.333333] * 3
    assert widest_gap(table) == Gap("dog", "train", images=1, of=3, asked=0.7)


def test_a_split_tells_its_sizes_and_the_widest_gap() -> None:
    assert said() == [
        "train 15 (75.0%), val 4 (20.0%), test 1 (5.0%)",
        "largest difference from params.yaml: class dog, test 0.0% (0 of 10) instead of 15.0%",
    ]


def test_what_was_set_aside_is_reported_and_series_only_where_it_is_much() -> None:
    many = pd.concat([ROWS] * 4)
    assert said(many, aside=2)[2:] == [
        "2 of the 22 images of val and test were set aside (2 × near_copy_in_train); "
        "set_aside.parquet lists them"
    ]
    assert "3 of the 23 images of val and test" in said(many, aside=3)[2]
    assert "make each series a group" in said(many, aside=3)[3]


def test_moves_are_reported_and_only_the_first_are_named() -> None:
    moves = tuple(Move(f"c{n}", "test", 2, n) for n in range(7))
    (line,) = said(moves=moves)[2:]
    assert line.startswith(
        "14 images were moved, because a split had no image of their class (c0 to test, "
    )
    assert "c4 to test, …" in line
    assert "c5" not in line
    (line,) = said(moves=(Move("c0", "test", 1, 1),))[2:]
    assert line.startswith("1 image was moved, because")
    (line,) = said(moves=moves[:5])[2:]
    assert "c4 to test)" in line


@pytest.mark.parametrize("least", [0, 1])
def test_folds_are_reported_with_the_class_that_one_has_fewest_of(least: int) -> None:
    rows = pd.DataFrame({"label": ["cat"] * 6 + ["dog"] * 3, "split": ["train"] * 9})
    rows["fold"] = pd.array([0, 0, 0, 1, 1, 1, 0, 0, least], dtype="Int64")
    assert said(rows)[2:] == [
        f"2 folds of {3 + least} to {6 - least} images; the smallest number of "
        f"images of a class in a fold is {least} (class dog)"
    ]
