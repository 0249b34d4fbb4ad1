"""Splits: a function of content and seed that no other image changes, and without any leak."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.errors import UserError
from components.params.split import SPLITS
from components.splits.leaks import check_no_leaks
from components.splits.splits import Splits, assign_splits
from tests.components.splits.split_tables import (
    NEAR,
    SPLIT,
    Case,
    Image,
    accepted_of,
    belong,
    copy_of,
    group_on,
    has_leak,
    links_of,
    on,
    own_split,
    split,
    split_by_path,
    tried,
    unlike,
)

ROOT = Path(__file__).parents[3]
CASES = [range(40), pytest.param(range(120), marks=pytest.mark.slow)]


def sets_of_one_class(images: list[Image]) -> Counter[str]:
    """Count by class what hangs together and holds no other class, by painting from each image."""
    together, painted = belong(images), np.full(len(images), -1)
    for start in range(len(images)):
        reach = np.zeros(len(images), dtype=bool)
        reach[start] = painted[start] < 0
        while reach.any():
            painted[reach] = start
            reach = together[reach].any(axis=0) & (painted < 0)
    labels = pd.Series([image.label for image in images]).groupby(painted).agg(set)
    return Counter(next(iter(found)) for found in labels if len(found) == 1)


@pytest.fixture(scope="module", params=CASES, ids=["few", "many"])
def growing(request: pytest.FixtureRequest) -> list[tuple[Case, Splits, Splits]]:
    tries = [(case, tried(case.before), tried(case.after)) for case in map(Case, request.param)]
    possible = [(case, before, after) for case, before, after in tries if before and after]
    assert len(possible) > 0.7 * len(request.param)
    return possible


def test_no_image_changes_split_when_others_arrive(
    growing: list[tuple[Case, Splits, Splits]],
) -> None:
    compared = left = 0
    for case, before, after in growing:
        moved = {move.label for move in before.moves + after.moves}
        was, now = split_by_path(before), split_by_path(after)
        for image in case.before:
            if image.label not in moved:
                assert now[image.path] in (was[image.path], "aside"), (case.seed, image)
                compared += 1
                left += now[image.path] != was[image.path]
    assert compared > 40 * len(growing)
    assert left > len(growing) / 12


def test_no_test_image_ever_had_a_copy_in_train(growing: list[tuple[Case, Splits, Splits]]) -> None:
    compared = 0
    for case, before, after in growing:
        moved = {move.label for move in before.moves + after.moves}
        was, now, together = split_by_path(before), split_by_path(after), belong(case.after)
        trained_on = np.array([was.get(image.path) == "train" for image in case.after])
        for number, image in enumerate(case.after):
            if now[image.path] == "test" and image.label not in moved:
                assert not (together[number] & trained_on).any(), (case.seed, image)
                compared += 1
    assert compared > 4 * len(growing)


def test_names_and_order_do_not_matter() -> None:
    aside = 0
    for case in map(Case, range(20)):
        random = np.random.default_rng(case.seed)
        order = random.permutation(len(case.after))
        renamed = [replace(case.after[n], path=f"{random.integers(10**9)}/{n}") for n in order]
        try:
            was = split(case.after)
        except UserError as error:
            with pytest.raises(UserError) as again:
                split(renamed)
            assert str(again.value) == str(error)
            continue
        now = split_by_path(split(renamed))
        assert [now[image.path] for image in renamed] == [
            split_by_path(was)[case.after[n].path] for n in order
        ], case.seed
        aside += len(was.set_aside)
    assert aside > 50


@pytest.mark.parametrize("locale", ["C", "tr_TR.UTF-8"])
def test_locale_and_hash_seed_do_not_matter(locale: str) -> None:
    code = (
        "from tests.components.splits.split_tables import Case, split\n"
        "splits = split(Case(1).after)\n"
        "print(splits.rows.to_csv() + splits.set_aside.to_csv(), end='')"
    )
    environment = {**os.environ, "LC_ALL": locale, "PYTHONHASHSEED": str(len(locale))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    here = split(Case(1).after)
    assert done.stdout == here.rows.to_csv() + here.set_aside.to_csv()


def test_no_finished_split_has_a_leak(growing: list[tuple[Case, Splits, Splits]]) -> None:
    for case, _, after in growing:
        assert not has_leak(case.after, after), case.seed
        check_no_leaks(after.rows, links_of(case.after))


def test_what_is_accepted_is_in_the_split_or_set_aside(
    growing: list[tuple[Case, Splits, Splits]],
) -> None:
    for case, _, after in growing:
        accepted = accepted_of(case.after)
        columns = list(accepted.columns)
        assert [*columns, "split"] == list(after.rows.columns)
        assert [*columns, "reason", "because_of"] == list(after.set_aside.columns)
        both = pd.concat([after.rows[columns], after.set_aside[columns]])
        order = accepted.sort_values("path", ignore_index=True)
        assert both.sort_values("path", ignore_index=True).equals(order)
        kept = accepted["path"].isin(after.rows["path"])
        assert after.rows[columns].equals(accepted[kept].reset_index(drop=True))


def test_exactly_those_are_set_aside_that_have_a_copy_in_an_earlier_split(
    growing: list[tuple[Case, Splits, Splits]],
) -> None:
    plain = [(case, after) for case, _, after in growing if not after.moves]
    assert len(plain) > len(growing) / 6
    for case, after in plain:
        own = np.array([SPLITS.index(own_split(image)) for image in case.after])
        out = (belong(case.after) & (own < own[:, None])).any(axis=1)
        wanted = [
            "aside" if gone else SPLITS[split_name]
            for gone, split_name in zip(out, own, strict=True)
        ]
        split_of = split_by_path(after)
        assert [split_of[image.path] for image in case.after] == wanted, case.seed


def test_what_is_set_aside_names_a_copy_and_its_split(
    growing: list[tuple[Case, Splits, Splits]],
) -> None:
    for case, _, after in growing:
        numbers = {image.path: number for number, image in enumerate(case.after)}
        together = belong(case.after)
        own = {image.path: own_split(image) for image in case.after}
        moved = {move.label for move in after.moves}
        for row in after.set_aside.itertuples():
            assert together[numbers[row.path], numbers[row.because_of]]
            if case.after[numbers[row.path]].label not in moved:
                assert row.reason.endswith(f"_in_{own[row.because_of]}")


@pytest.mark.parametrize("cases", CASES, ids=["few", "many"])
def test_a_class_with_three_sets_of_its_own_is_in_every_split(cases: range) -> None:
    refused = 0
    for case in map(Case, cases):
        sets = sets_of_one_class(case.after)
        labels = {image.label for image in case.after}
        try:
            rows = split(case.after).rows
        except UserError as error:
            refused += 1
            assert min(sets[label] for label in labels) < 3, (case.seed, str(error))
        else:
            assert set(rows["label"]) == labels
            assert rows.groupby("label")["split"].nunique().eq(3).all(), case.seed
    assert 0 < refused < 0.3 * len(cases)


def test_shares_are_met_in_every_class() -> None:
    rows = split(unlike("cat", 1500) + unlike("dog", 500)).rows
    shares = rows.groupby("label")["split"].value_counts(normalize=True)
    for label in ("cat", "dog"):
        assert shares[label, "test"] == pytest.approx(0.15, abs=0.04)
        assert shares[label, "val"] == pytest.approx(0.15, abs=0.04)


def test_another_seed_gives_another_split() -> None:
    images = unlike("cat", 100) + unlike("dog", 100)
    assert split_by_path(split(images, seed=1)) != split_by_path(split(images, seed=2))


def test_another_share_for_val_leaves_test_as_it_is() -> None:
    images = unlike("cat", 200) + unlike("dog", 200)
    small, large = split(images), split(images, val=0.4)
    assert {path for path, split_name in split_by_path(small).items() if split_name == "test"} == {
        path for path, split_name in split_by_path(large).items() if split_name == "test"
    }


@pytest.mark.parametrize(
    ("one", "two", "stays"),
    [("train", "val", 0), ("train", "test", 0), ("val", "test", 0), ("test", "train", 1)],
)
def test_of_two_near_copies_the_held_out_one_is_set_aside(one: str, two: str, stays: int) -> None:
    first = on(one)
    pair = [first, copy_of(first, two)]
    splits = split([*pair, *unlike("cow", 60), *unlike("dog", 60), *unlike("cat", 60)])
    assert splits.set_aside["path"].tolist() == [pair[1 - stays].path]
    assert splits.set_aside["because_of"].tolist() == [pair[stays].path]
    assert splits.set_aside["reason"].tolist() == [f"near_copy_in_{[one, two][stays]}"]


def test_near_copies_in_the_same_split_both_stay() -> None:
    first = on("test")
    splits = split([first, copy_of(first, "test"), *unlike("cow", 60), *unlike("cat", 60)])
    assert splits.set_aside.empty


def test_an_image_stays_out_also_when_the_copy_it_hung_on_is_set_aside_itself() -> None:
    in_val = on("val")
    in_test = replace(copy_of(in_val, "test"), path="z")
    middle = 2 * in_val.picture - in_test.picture  # on the other side of the one in val
    reach = in_val.picture + (middle - in_val.picture) * np.linspace(1, 900, 4000)
    in_train = next(
        image
        for image in (Image("a", "cat", float(picture)) for picture in reach)
        if own_split(image) == "train"
        and abs(image.picture - in_val.picture) < NEAR < abs(image.picture - in_test.picture)
    )
    others = unlike("cow", 60) + unlike("cat", 60)
    assert split_by_path(split([in_val, in_test, *others]))["z"] == "aside"
    grown = split_by_path(split([in_val, in_test, in_train, *others]))
    assert (grown["a"], grown[in_val.path], grown["z"]) == ("train", "aside", "aside")


def test_a_link_holds_for_exact_copies_of_a_picture_whose_first_file_was_quarantined() -> None:
    in_train = on("train")
    in_test = replace(copy_of(in_train, "test"), path="b")
    images = [in_train, in_test, *unlike("cow", 60), *unlike("cat", 60)]
    quarantined = replace(in_test, path="a")
    links = links_of([quarantined, *images])
    assert not links[links["kind"] == "near"].isin(["b"]).any(axis=None)
    splits = assign_splits(accepted_of(images), links, SPLIT)
    assert splits.set_aside["path"].tolist() == ["b"]
    with pytest.raises(RuntimeError, match="near copies"):
        check_no_leaks(accepted_of(images).assign(split=[*map(own_split, images)]), links)


def test_links_to_what_was_not_accepted_are_ignored() -> None:
    in_train = on("train")
    in_test = copy_of(in_train, "test")
    others = unlike("cow", 60) + unlike("cat", 60)
    links = links_of([in_train, in_test, *others])
    splits = assign_splits(accepted_of([in_test, *others]), links, SPLIT)
    assert splits.set_aside.empty
    assert split_by_path(splits)[in_test.path] == "test"


def test_identical_images_share_a_split() -> None:
    images = [Image(f"{n}", "cat", 10.0 * (n // 4)) for n in range(400)] + unlike("dog", 50)
    splits = split(images)
    assert splits.set_aside.empty
    assert splits.rows.groupby("pixels_id")["split"].nunique().max() == 1


def test_groups_share_a_split() -> None:
    images = [replace(image, group=f"g{n // 10}") for n, image in enumerate(unlike("cat", 400))]
    splits = split(images + unlike("dog", 50))
    assert splits.set_aside.empty
    assert splits.rows.groupby("group")["split"].nunique().max() == 1


def test_an_image_in_two_groups_moves_neither() -> None:
    one, two = group_on("train"), group_on("test")
    images = [Image("1", "cat", -10, group=one), Image("2", "cat", -20, group=two)]
    images += unlike("cat", 60) + unlike("dog", 60)
    shared = Image("3", "cat", -10, group=two)
    before, after = split_by_path(split(images)), split_by_path(split([*images, shared]))
    assert (before["1"], before["2"]) == ("train", "test")
    assert after == before | {"3": "aside"}


def test_an_empty_table_of_links_will_do() -> None:
    images = unlike("cat", 50)
    assert links_of(images).empty
    assert len(split(images).rows) == 50
