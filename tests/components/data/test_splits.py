"""Splits: a function of content and seed, with every class on every side."""

from typing import Any

import pandas as pd
import pytest

from components.data.duplicates import clusters, label_counts, repeats
from components.data.manifest import as_manifest
from components.data.splits import SIDES, Gap, assign_splits, widest_gap
from components.errors import UserError
from components.params import Split

SPLIT = Split(val=0.15, test=0.15, given="stop", folds=0)


def image(number: int, label: str, **facts: Any) -> dict[str, Any]:
    pixels_id = f"{label}-{number}"
    return {"path": f"{label}/{number}", "label": label, "pixels_id": pixels_id, "bytes": 1} | facts


def table(**counts: int) -> pd.DataFrame:
    return as_manifest([image(n, label) for label, count in counts.items() for n in range(count)])


def side_of(manifest: pd.DataFrame, seed: int = 1, split: Split = SPLIT) -> dict[str, str]:
    splits = assign_splits(manifest, split, seed)
    return dict(zip(splits["pixels_id"], splits["split"], strict=True))


def test_shares_are_met_in_every_class() -> None:
    splits = assign_splits(table(cat=3000, dog=1000), SPLIT, seed=1)
    shares = splits.groupby("label")["split"].value_counts(normalize=True)
    for label in ("cat", "dog"):
        assert shares[label, "test"] == pytest.approx(0.15, abs=0.03)
        assert shares[label, "val"] == pytest.approx(0.15, abs=0.03)


def test_no_image_changes_side_when_others_arrive() -> None:
    before, after = side_of(table(cat=300, dog=100)), side_of(table(cat=330, dog=130, cow=40))
    assert {name: after[name] for name in before} == before


def test_order_and_names_do_not_matter() -> None:
    manifest = table(cat=100, dog=100)
    shuffled = manifest.sample(frac=1, random_state=0)
    shuffled["path"] = [f"elsewhere/{n}" for n in range(200)]
    assert side_of(shuffled) == side_of(manifest)


def test_another_seed_gives_another_split() -> None:
    manifest = table(cat=200, dog=200)
    assert side_of(manifest, seed=1) != side_of(manifest, seed=2)


def test_another_share_for_val_leaves_test_as_it_is() -> None:
    manifest = table(cat=200, dog=200)
    small, large = side_of(manifest), side_of(manifest, split=SPLIT.model_copy(update={"val": 0.4}))
    assert {n for n, s in small.items() if s == "test"} == {
        n for n, s in large.items() if s == "test"
    }


def test_identical_images_never_cross_splits() -> None:
    rows = [image(n, "cat", pixels_id=f"same-{n // 4}") for n in range(400)]
    splits = assign_splits(as_manifest(rows + [image(n, "dog") for n in range(50)]), SPLIT, 1)
    assert splits.groupby("pixels_id")["split"].nunique().max() == 1


def test_groups_never_cross_splits_even_through_a_shared_image() -> None:
    rows = [image(n, "cat", group=f"patient-{n // 10}") for n in range(400)]
    rows.append(image(401, "cat", group="patient-5", pixels_id="cat-0"))  # also patient-0's
    splits = assign_splits(as_manifest(rows + [image(n, "dog") for n in range(50)]), SPLIT, 1)
    assert splits.groupby("group")["split"].nunique().max() == 1
    joined = splits[splits["group"].isin(["patient-0", "patient-5"])]
    assert joined["split"].nunique() == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_class_of_three_is_on_every_side(seed: int) -> None:
    splits = assign_splits(table(cat=100, dog=3), SPLIT, seed)
    assert set(splits.loc[splits["label"] == "dog", "split"]) == set(SIDES)


def test_filling_an_empty_side_moves_no_other_class() -> None:
    for seed in range(20):
        alone = side_of(table(cat=50), seed)
        together = side_of(table(cat=50, dog=3), seed)
        assert {name: together[name] for name in alone} == alone


def test_two_distinct_images_cannot_fill_three_sides() -> None:
    rows = [image(n, "dog", pixels_id=f"dog-{n % 2}") for n in range(9)]
    with pytest.raises(UserError, match=r"class dog .* Received: 2 distinct"):
        assign_splits(as_manifest(rows + [image(n, "cat") for n in range(50)]), SPLIT, 1)


def test_groups_of_several_classes_are_not_parted_to_fill_a_side() -> None:
    rows = [image(n, label, group=f"g{n}") for n in range(3) for label in ("cat", "dog")]
    refused = 0
    for seed in range(20):
        try:
            splits = assign_splits(as_manifest(rows), SPLIT, seed)
            assert splits.groupby("group")["split"].nunique().max() == 1
        except UserError as error:
            refused += 1
            assert "several classes" in str(error)
    assert refused


def test_the_widest_gap_is_found_also_where_a_side_has_nothing() -> None:
    labels = ["cat"] * 10 + ["dog"] * 10
    sides = ["train"] * 7 + ["val"] * 2 + ["test"] + ["train"] * 8 + ["val"] * 2
    splits = pd.DataFrame({"label": labels, "split": sides})
    gap = widest_gap(splits, SPLIT)
    assert gap == Gap("dog", "test", images=0, of=10, asked=0.15)
    assert gap.in_words() == "class dog, test 0.0% (0 of 10) for 15.0%"


def test_repeats_and_conflicts_are_told_by_pixels() -> None:
    manifest = as_manifest(
        [
            image(0, "cat", pixels_id="a"),
            image(1, "dog", pixels_id="a"),
            image(2, "dog", pixels_id="b"),
            image(3, "dog", pixels_id="b"),
            image(4, "", pixels_id="b"),
            image(5, "cat", pixels_id=None),
            image(6, "cat", pixels_id=None),
        ]
    )
    assert repeats(manifest).tolist() == [False, True, False, True, True, False, False]
    assert label_counts(manifest).tolist() == [2, 2, 1, 1, 1, 0, 0]


def test_a_set_keeps_its_name_when_images_arrive() -> None:
    rows = [image(0, "cat"), image(1, "cat", group="g")]
    more = [*rows, image(2, "cat", group="g"), image(3, "cat", pixels_id="cat-0")]
    few, many = clusters(as_manifest(rows)), clusters(as_manifest(more))
    assert many.iloc[:2].tolist() == few.tolist()
    assert many.iloc[2] == few.iloc[1]
    assert many.iloc[3] == few.iloc[0]
