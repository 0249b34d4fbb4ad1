"""Shortcuts: planted ones are found and named, and without any nothing is."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.validation.folds import FOLDS, fold_numbers
from components.validation.shortcuts import MIN_IMAGES, find_shortcuts


def images(count: int, **changes: Any) -> pd.DataFrame:
    """Sound images of three labels, whose facts are drawn at random and say nothing of them."""
    generator = np.random.default_rng(1)
    names = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(count)]
    manifest = pd.DataFrame(
        {
            "path": [f"{number:06d}.png" for number in range(count)],
            "label": generator.choice(["cat", "cow", "dog"], count, p=[0.1, 0.3, 0.6]),
            "image_id": names,
            "pixels_id": names,
            "bytes": generator.integers(1000, 90_000, count),
            "format": generator.choice(["jpeg", "png"], count),
            "width": generator.choice([192, 256, 300], count),
            "height": 256,
            "mode": "RGB",
            "brightness": generator.random(count),
            "contrast": generator.random(count) / 2,
            "saturation": generator.random(count),
        }
    )
    return manifest.assign(aspect=manifest["width"] / manifest["height"]).assign(**changes)


def planted(fact: str, value: Any) -> pd.DataFrame:
    """Images of which all cats, and some others, have one value of a fact."""
    manifest = images(900)
    cats = (manifest["label"] == "cat") | (manifest.index % 20 == 0)
    manifest[fact] = manifest[fact].where(~cats, value)
    return manifest


def test_facts_that_say_nothing_tell_nothing() -> None:
    table = find_shortcuts(images(3000)).table
    assert table["label"].tolist() == ["cat", "cow", "dog"]
    for kind in ("file_auc", "picture_auc"):
        assert table[kind].between(0.42, 0.58).all()


@pytest.mark.parametrize(
    ("fact", "value"),
    [("width", 100), ("bytes", 500), ("format", "webp"), ("mode", "L"), ("aspect", 1.1)],
)
def test_a_planted_fact_of_the_file_is_found_and_named(fact: str, value: Any) -> None:
    found = find_shortcuts(planted(fact, value)).table.set_index("label")
    assert found.loc["cat", "file_auc"] > 0.95
    assert found.loc["cat", "file_fact"] == fact
    assert found.loc["cat", "picture_auc"] < 0.6


def test_a_planted_brightness_counts_apart_from_the_file() -> None:
    manifest = images(900)
    cats = manifest["label"] == "cat"
    # Neither the darkest nor the brightest: no threshold tells them, a range does.
    manifest.loc[cats, "brightness"] = 0.4 + manifest.loc[cats, "brightness"] / 20
    found = find_shortcuts(manifest).table.set_index("label")
    assert found.loc["cat", "picture_auc"] > 0.95
    assert found.loc["cat", "picture_fact"] == "brightness"
    assert found.loc["cat", "file_auc"] < 0.6


def test_the_order_of_rows_changes_nothing() -> None:
    manifest = images(500)
    turned = manifest.iloc[::-1].reset_index(drop=True)
    assert find_shortcuts(manifest).table.equals(find_shortcuts(turned).table)


def test_copies_of_an_image_do_not_tell_its_label() -> None:
    """Every picture ten times, with bytes of its own: who knows a copy would know the label."""
    manifest = images(30, bytes=range(30))
    copies = pd.concat([manifest] * 10, ignore_index=True)
    copies["path"] = [f"{number:06d}.png" for number in range(len(copies))]
    table = find_shortcuts(copies).table
    assert table["file_auc"].max() < 0.75
    apart = copies.assign(pixels_id=copies["path"])
    assert find_shortcuts(apart).table["file_auc"].min() > 0.8


def test_a_class_of_few_images_is_skipped_and_named() -> None:
    manifest = images(300)
    manifest.loc[: MIN_IMAGES - 2, "label"] = "emu"
    found = find_shortcuts(manifest)
    assert found.skipped == ("emu",)
    assert "emu" not in found.table["label"].tolist()


@pytest.mark.parametrize("count", [0, 30])
def test_fewer_than_two_classes_have_no_shortcut(count: int) -> None:
    found = find_shortcuts(images(count, label="cat"))
    assert found.table.empty
    assert found.tree() == {"labels": [], "skipped": []}


def test_files_without_pixels_or_label_are_not_looked_at() -> None:
    manifest = images(300)
    manifest.loc[:49, "pixels_id"] = None
    manifest.loc[50:99, "label"] = ""
    assert find_shortcuts(manifest).table["images"].sum() == 200


def test_folds_hold_copies_together_and_every_label_in_each() -> None:
    labels = np.arange(600) % 3
    sets = [f"{number // 4}" for number in range(600)]
    folds = pd.DataFrame({"label": labels, "set": sets, "fold": fold_numbers(labels, sets)})
    assert (folds.groupby("set")["fold"].nunique() == 1).all()
    assert folds.groupby("label")["fold"].nunique().tolist() == [FOLDS] * 3
    assert folds["fold"].value_counts().between(110, 130).all()
