"""The check over a finished split, which trusts nothing that made it."""

from dataclasses import replace

import pandas as pd
import pytest

from components.splits.leaks import check_no_leaks
from tests.components.splits.split_tables import Image, accepted_of, links_of, split, unlike


def checked(images: list[Image], *split_names: str, **columns: list[int | None]) -> None:
    rows = accepted_of(images).assign(split=list(split_names))
    for name, values in columns.items():
        rows[name] = pd.array(values, dtype="Int64")
    check_no_leaks(rows, links_of(images))


A = Image("a.png", "cat", 10.0)
SAME_PIXELS = Image("b.png", "cat", 10.0)
NEAR_COPY = Image("b.png", "dog", 10.5)
UNLIKE = Image("b.png", "dog", 20.0)


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        (A, SAME_PIXELS, "have the same pixels_id"),
        (A, NEAR_COPY, "are near copies"),
        (replace(A, group="g"), replace(UNLIKE, group="g"), "have the same group"),
    ],
)
def test_what_belongs_together_may_not_be_in_two_splits(one: Image, two: Image, said: str) -> None:
    checked([one, two], "test", "test")
    with pytest.raises(RuntimeError) as error:
        checked([one, two], "train", "test")
    assert f"a.png (train) and b.png (test) {said}" in str(error.value)


def test_images_that_are_unlike_may_be_in_two_splits() -> None:
    checked([A, UNLIKE], "train", "test")


def test_folds_are_checked_as_splits_are() -> None:
    checked([A, NEAR_COPY], "train", "train", fold=[1, 1])
    with pytest.raises(RuntimeError, match=r"two folds,.* a.png \(0\) and b.png \(1\)"):
        checked([A, NEAR_COPY], "train", "train", fold=[0, 1])


def test_images_without_a_fold_are_in_none() -> None:
    checked([A, NEAR_COPY], "test", "test", fold=[None, None])


def test_a_link_is_checked_also_where_the_file_that_it_names_was_left_out() -> None:
    quarantined, copy, near = Image("0.png", "cat", 10.0), A, NEAR_COPY
    links = links_of([quarantined, copy, near])
    assert set(links.loc[links["kind"] == "near", "path"]) == {"0.png"}
    rows = accepted_of([copy, near]).assign(split=["train", "val"])
    with pytest.raises(RuntimeError, match="near copies"):
        check_no_leaks(rows, links)


def test_links_to_what_was_left_out_altogether_do_not_count() -> None:
    rows = accepted_of([A]).assign(split=["train"])
    check_no_leaks(rows, links_of([A, NEAR_COPY]))


def test_moving_one_copy_in_a_sound_split_is_found() -> None:
    images = [*unlike("cat", 100), Image("first", "cat", -10.0), Image("second", "cat", -10.5)]
    splits = split(images, seed=next(seed for seed in range(99) if not aside(images, seed)))
    links, rows = links_of(images), splits.rows
    check_no_leaks(rows, links)
    rows.loc[rows["path"] == "second", "split"] = "elsewhere"
    with pytest.raises(RuntimeError, match=r"first .* and second"):
        check_no_leaks(rows, links)


def aside(images: list[Image], seed: int) -> bool:
    return not split(images, seed=seed).set_aside.empty
