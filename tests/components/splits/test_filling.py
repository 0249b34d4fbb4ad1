"""Every class in every split: what is moved where chance or near copies leave one empty."""

from collections import Counter

import pytest

from components.errors import UserError
from components.params.split import SPLITS
from tests.components.splits.split_tables import (
    Image,
    group_on,
    own_split,
    place_of,
    split,
    split_by_path,
    unlike,
)


def series(label: str, count: int, start: float) -> list[Image]:
    """Frames of a video: each is a near copy of every other."""
    step = 0.9 / count
    return [Image(f"{label}/{start}-{n}.png", label, start + step * n) for n in range(count)]


def small_class_without(split_name: str, count: int = 5) -> list[Image]:
    """Images of one class of which none would be in that split by itself."""
    images = unlike("dog", 200)
    return [image for image in images if own_split(image) != split_name][:count]


@pytest.mark.parametrize("seed", range(20))
def test_a_class_of_three_is_in_every_split(seed: int) -> None:
    rows = split(unlike("cat", 100) + unlike("dog", 3), seed).rows
    assert set(rows.loc[rows["label"] == "dog", "split"]) == set(SPLITS)


def test_filling_an_empty_split_moves_no_other_class() -> None:
    cats = unlike("cat", 50)
    for seed in range(20):
        together = split_by_path(split(cats + unlike("dog", 3), seed))
        assert {image.path: together[image.path] for image in cats} == split_by_path(
            split(cats, seed)
        )


@pytest.mark.parametrize("split_name", ["val", "test"])
def test_the_nearest_image_is_moved_and_reported(split_name: str) -> None:
    dogs = small_class_without(split_name, count=20)
    splits = split(dogs)
    (move,) = splits.moves
    assert (move.label, move.split, move.images) == ("dog", split_name, 1)
    now = split_by_path(splits)
    (gone,) = [image for image in dogs if now[image.path] != own_split(image)]
    assert now[gone.path] == split_name
    start, end = {"test": (0, 0.15), "val": (0.15, 0.3)}[split_name]
    held = Counter(map(own_split, dogs))
    spare = [image for image in dogs if held[own_split(image)] > 1]
    distance = [max(start - place_of(image), place_of(image) - end) for image in spare]
    assert gone is spare[distance.index(min(distance))]


def test_a_moved_image_goes_back_once_the_class_has_one_that_belongs_there() -> None:
    dogs = small_class_without("test", count=20)
    arrived = next(image for image in unlike("dog", 200, 200) if own_split(image) == "test")
    assert len(split(dogs).moves) == 1
    after = split([*dogs, arrived])
    assert after.moves == ()
    assert split_by_path(after) == {image.path: own_split(image) for image in [*dogs, arrived]}


def test_what_is_linked_moves_as_a_whole_and_nothing_of_it_is_set_aside() -> None:
    frames = [series("dog", 20, start) for start in (0, 10, 20)]
    splits = split([image for each in frames for image in each] + unlike("cat", 50))
    now = split_by_path(splits)
    of_series = [{now[image.path] for image in each} for each in frames]
    whole = [found for found in of_series if len(found) == 1]
    assert len(whole) == 2
    assert {"val", "test"} == set.union(*whole)
    assert set.union(*of_series) - {"aside"} == set(SPLITS)
    assert sorted(move.images for move in splits.moves) == [20, 20]


@pytest.mark.parametrize(("frames", "others"), [(60, 10), (4, 16)])
def test_a_set_that_is_too_large_is_moved_last(frames: int, others: int) -> None:
    for start in range(0, 200, 10):
        dogs = [*series("dog", frames, start + 1000), *small_class_without("test", count=others)]
        for move in split(dogs + unlike("cat", 50)).moves:
            assert move.images == 1


def test_near_copies_that_empty_a_split_are_made_up_for() -> None:
    dogs = small_class_without("test", count=20)
    train = next(image for image in dogs if own_split(image) == "train")
    copies = (Image(f"copy {n}", "dog", train.picture + n / 1000) for n in range(1, 500))
    in_test = next(image for image in copies if own_split(image) == "test")
    splits = split([*dogs, in_test])
    assert Counter(splits.rows["split"])["test"] > 0
    assert [move.split for move in splits.moves] == ["test"]


def test_two_distinct_images_cannot_fill_three_splits() -> None:
    dogs = [Image(f"{n}", "dog", -10.0 * (n % 2 + 1)) for n in range(9)]
    with pytest.raises(UserError, match=r"class dog .* Received: 2 distinct images"):
        split(dogs + unlike("cat", 50))


def test_a_class_that_is_one_series_is_reported() -> None:
    with pytest.raises(UserError) as error:
        split(series("dog", 40, -50) + unlike("cat", 50))
    assert str(error.value) == (
        "class dog cannot be in train, val and test, since near copies and groups are not "
        "separated; add other images, or raise validate.near_duplicates.min_similarity. "
        "Received: 40 images; sets of linked images: 1"
    )


def test_sets_of_several_classes_are_not_moved_to_fill_a_split() -> None:
    group = group_on("train")
    images = [
        Image(f"{label}{n}", label, -10.0 * n - start, group=f"{group}{n}" if n else group)
        for label, start in (("cat", 0), ("dog", 1000))
        for n in range(3)
    ]
    refused = 0
    for seed in range(20):
        try:
            assert split(images, seed).rows.groupby("group")["split"].nunique().max() == 1
        except UserError as error:
            refused += 1
            assert "linked images with several classes is not moved" in str(error)
    assert refused
