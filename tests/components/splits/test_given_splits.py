"""Given splits: kept as they are, checked for leaks, and completed by hash."""

from dataclasses import replace

import pytest

from components.errors import UserError
from components.params.split import SPLITS
from components.splits.leaks import check_no_leaks
from components.splits.splits import Splits, check_given, given_leaks
from tests.components.splits.split_tables import (
    SPLIT,
    Case,
    Image,
    accepted_of,
    copy_of,
    group_on,
    has_leak,
    links_of,
    on,
    own_split,
    place_of,
    split,
    split_by_path,
    tried,
    unlike,
)

CASES = [range(40), pytest.param(range(100), marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=CASES, ids=["few", "many"])
def given(request: pytest.FixtureRequest) -> list[tuple[list[Image], Splits]]:
    tables = [Case(seed, given=True).after for seed in request.param]
    tries = [(images, tried(images, given="set_aside")) for images in tables]
    possible = [(images, splits) for images, splits in tries if splits]
    assert len(possible) > 0.5 * len(request.param)
    return possible


def test_given_images_stay_where_they_were_given(given: list[tuple[list[Image], Splits]]) -> None:
    kept = 0
    for images, splits in given:
        split_of = split_by_path(splits)
        val_given = any(image.given_split == "val" for image in images)
        for image in images:
            if image.given_split:
                allowed = {image.given_split, "aside"}
                if image.given_split == "train" and not val_given:
                    allowed.add("val")
                assert split_of[image.path] in allowed
                kept += split_of[image.path] == image.given_split
    assert kept > 20 * len(given)


def test_no_given_split_is_left_with_a_leak(given: list[tuple[list[Image], Splits]]) -> None:
    reasons = set()
    for images, splits in given:
        assert not has_leak(images, splits)
        assert len(splits.rows) + len(splits.set_aside) == len(images)
        check_no_leaks(splits.rows, links_of(images))
        reasons |= set(splits.set_aside["reason"])
    assert reasons >= {"copy_in_train", "group_in_train", "near_copy_in_train", "group_in_val"}


def given_three_ways() -> list[Image]:
    return [
        image
        for split_name, start, count in (("train", 0, 300), ("val", 300, 50), ("test", 350, 50))
        for label in ("cat", "dog")
        for image in unlike(label, count, start, given_split=split_name)
    ]


@pytest.mark.parametrize("policy", ["stop", "set_aside"])
def test_a_given_split_without_leaks_is_taken_as_it_is(policy: str) -> None:
    images = given_three_ways()
    splits = split(images, given=policy)
    assert splits.rows["split"].tolist() == [image.given_split for image in images]
    assert given_leaks(
        accepted_of(images), links_of(images), SPLIT.model_copy(update={"given": policy})
    ).empty


def test_a_given_split_that_is_ignored_changes_nothing() -> None:
    images = given_three_ways()
    plain = [replace(image, given_split=None) for image in images]
    assert split_by_path(split(images, given="ignore")) == split_by_path(split(plain))


@pytest.mark.parametrize(("given", "hashed"), [("test", "val"), ("val", "test")])
def test_a_split_that_no_image_was_given_is_hashed_out_of_train(given: str, hashed: str) -> None:
    in_train = unlike("cat", 300, given_split="train")
    held_out = unlike("cat", 60, start=300, given_split=given)
    share = 0.15 / 0.85  # of train, so that it is 0.15 of all where the given split is that, too
    wanted = {image.path: hashed if place_of(image) < share else "train" for image in in_train}
    assert split_by_path(split(in_train + held_out)) == wanted | {
        image.path: given for image in held_out
    }


def test_a_train_image_is_hashed_also_if_its_group_has_another_given_split() -> None:
    in_train = unlike("cat", 300, given_split="train")
    in_val = unlike("cat", 60, start=300, given_split="val")
    group = group_on("test")
    mate = Image("mate", "cat", -10, group=group, given_split="train")
    of_val = Image("of val", "cat", -20, group=group, given_split="val")
    splits = split([*in_train, *in_val, mate, of_val])
    assert splits.set_aside[["path", "reason"]].to_numpy().tolist() == [["mate", "group_in_val"]]


def test_a_class_that_chance_leaves_without_the_hashed_split_gets_it_out_of_train() -> None:
    cows = [image for image in unlike("cow", 99, given_split="train") if place_of(image) > 0.2][:20]
    in_test = unlike("cow", 5, 99, given_split="test")
    dogs = unlike("dog", 100, given_split="train") + unlike("dog", 20, 100, given_split="test")
    splits = split([*cows, *in_test, *dogs])
    (move,) = splits.moves
    assert (move.label, move.split, move.images) == ("cow", "val", 1)
    assert split_by_path(splits)[min(cows, key=place_of).path] == "val"


def test_where_train_alone_is_given_all_is_hashed() -> None:
    images = unlike("cat", 200)
    given = [replace(image, given_split="train") for image in images]
    assert split_by_path(split(given)) == split_by_path(split(images))


def test_images_without_a_given_split_are_hashed() -> None:
    free = unlike("cat", 300, start=1000)
    splits = split_by_path(split(given_three_ways() + free))
    assert [splits[image.path] for image in free] == [own_split(image) for image in free]


@pytest.mark.parametrize("split_name", SPLITS)
def test_images_that_belong_with_a_given_one_follow_it(split_name: str) -> None:
    group = group_on("test" if split_name == "val" else "val")
    given = Image("given", "cat", -10, group=group, given_split=split_name)
    mate = Image("mate", "cat", -20, group=group)
    exact = Image("exact", "cat", -10)
    of_another_group = Image("other", "cat", -10, group=f"{group}0")
    its_mate = Image("its mate", "cat", -30, group=f"{group}0")
    family = [given, mate, exact, of_another_group, its_mate]
    splits = split([*given_three_ways(), *family])
    assert {split_by_path(splits)[image.path] for image in family} == {split_name}


def test_an_image_follows_its_group_before_its_copies() -> None:
    in_group = Image("1", "cat", -10, group="g", given_split="test")
    mate = Image("2", "cat", -20, group="g")
    copy = Image("3", "cat", -20, given_split="train")
    images = [*given_three_ways(), in_group, mate, copy]
    assert given_leaks(accepted_of(images), links_of(images), SPLIT).empty
    now = split_by_path(split(images))
    assert (now["1"], now["2"], now["3"]) == ("test", "aside", "train")


def leaking() -> list[Image]:
    images = given_three_ways()
    first, second, third = images[0], images[1], images[2]
    return [
        *images,
        replace(first, path="test/same.png", given_split="test"),
        replace(second, path="val/near.png", picture=second.picture + 0.5, given_split="val"),
        replace(third, path="train/mate.png", picture=-50.0, group="g"),
        replace(third, path="test/mate.png", picture=-99.0, group="g", given_split="test"),
    ]


def test_leaks_of_a_given_split_are_listed_and_stop_the_run() -> None:
    images = leaking()
    leaks = given_leaks(accepted_of(images), links_of(images), SPLIT)
    assert leaks.drop(columns="similarity").to_numpy().tolist() == [
        ["test/mate.png", "test", "group_in_train", "train/mate.png"],
        ["test/same.png", "test", "copy_in_train", "cat/0.png"],
        ["val/near.png", "val", "near_copy_in_train", "cat/1.png"],
    ]
    assert leaks["similarity"].tolist() == [1.0, 1.0, pytest.approx(0.95)]
    with pytest.raises(UserError) as error:
        check_given(leaks, SPLIT, "leaks.csv")
    assert str(error.value).startswith("the given split leaks: 3 images have a copy")
    assert str(error.value).endswith("Received: test/mate.png (group in train: train/mate.png)")
    assert "leaks.csv" in str(error.value)


def test_leaks_of_a_given_split_can_be_set_aside() -> None:
    images = leaking()
    params = SPLIT.model_copy(update={"given": "set_aside"})
    leaks = given_leaks(accepted_of(images), links_of(images), params)
    check_given(leaks, params, "leaks.csv")
    splits = split(images, given="set_aside")
    assert splits.set_aside["path"].tolist() == ["test/same.png", "val/near.png", "test/mate.png"]
    assert sorted(leaks["path"]) == sorted(splits.set_aside["path"])


def test_leaks_of_hashed_images_do_not_stop_a_run() -> None:
    images = given_three_ways()
    near = copy_of(images[0], "test", given_split=None)  # type: ignore[arg-type]
    assert images[0].given_split == "train"
    accepted, links = accepted_of([*images, near]), links_of([*images, near])
    assert given_leaks(accepted, links, SPLIT).empty
    assert split([*images, near]).set_aside["path"].tolist() == [near.path]


def test_an_ignored_given_split_has_no_leaks() -> None:
    first = on("train", given_split="train")
    images = [first, copy_of(first, "test", given_split="test"), *given_three_ways()]
    for policy, leaks in (("ignore", 0), ("stop", 1)):
        params = SPLIT.model_copy(update={"given": policy})
        assert len(given_leaks(accepted_of(images), links_of(images), params)) == leaks


def test_a_class_that_is_not_in_the_given_test_is_reported() -> None:
    images = given_three_ways() + unlike("cow", 20, given_split="train")
    with pytest.raises(UserError, match=r"class cow has no image in the split test.*Received: "):
        split(images)
