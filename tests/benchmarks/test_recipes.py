"""The benchmark of recipes: what is measured once stays, and the tables say what was measured."""

import re
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.errors import UserError
from components.params.split import SPLITS
from pipelines import artifacts
from tests.benchmarks.recipes import __main__ as recipes
from tests.benchmarks.recipes.cards import CARDS, PLAIN, card_params, digest, treatments
from tests.benchmarks.recipes.fits import read_test
from tests.benchmarks.recipes.picture import draw
from tests.benchmarks.recipes.results import Results
from tests.benchmarks.recipes.sets import (
    _few_rows,
    _long_tailed_rows,
    _stratified,
    fashion,
    prepared,
)
from tests.benchmarks.recipes.synthetic import QUICK, pictures, write_clothes
from tests.benchmarks.recipes.tables import difference, table


def result(seed: int, recipe: str, macro_f1: float, **more: Any) -> dict[str, Any]:
    """Return a line of the file of results, without the packages."""
    bins = [{"images": 20, "confidence": 0.9, "accuracy": macro_f1}]
    images = {"train_images": 70, "val_images": 15, "test_images": 20, "overlap": 20 / 70}
    names = {"data": "trashnet-224", "seed": seed, "recipe": recipe, "change": "", "kind": "ours"}
    facts: dict[str, Any] = {"git.commit": "0123456789abcdef", "git.dirty": "yes: README.md"}
    facts |= {"load": [1.5, 1.0, 1.0], "processor": "x86_64; a fast one; avx avx2"}
    scores = {"macro_f1": macro_f1, "accuracy": macro_f1, "bins": bins}
    costs = {"cpu_s": 10.0, "wall_s": 6.0}
    return {**names, "params": recipe, **images, **facts, **scores, **costs, **more}


def test_a_result_is_found_again_and_a_line_that_a_kill_cut_is_not(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    first, second = result(1, "before", 0.8), result(2, "before", 0.9)
    results = Results(path)
    results.add(first)
    results.add(second)
    path.write_text(path.read_text()[:-9])
    results = Results(path)
    assert results.lines == [first]
    assert results.find(first) == first
    assert results.find(second) is None
    results.add(second)
    assert Results(path).lines == [first, second]


def test_a_card_with_the_values_of_another_is_not_trained_again(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl")
    results.add(result(1, "before", 0.8))
    key = {**result(1, "standard", 0.0), "params": "before"}
    names = {name: key[name] for name in ("data", "seed", "kind", "recipe", "change", "params")}
    found = results.find(names)
    assert found == {**result(1, "before", 0.8), "recipe": "standard"}
    assert Results(tmp_path / "results.jsonl").lines[-1] == found
    assert results.find({**names, "kind": "logistic"}) is None


def test_every_strategy_and_every_loss_is_a_treatment_and_a_card_takes_it() -> None:
    changes = treatments()
    assert changes[0] == PLAIN
    assert len(set(changes)) == len(changes) > 5
    hashes = {digest(card_params("compact_small", recipes.parse_changes(text))) for text in changes}
    assert len(hashes) == len(changes)


@pytest.mark.parametrize("card", CARDS)
def test_every_card_can_be_tried_on_small_pictures(card: str) -> None:
    assert card_params(card, QUICK).model.backbone == "compact"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("train.epoch=3", r"needs a key of the card before\. Received: train\.epoch$"),
        ("train.seed.no=3", r"needs a key of the card before\. Received: train\.seed\.no$"),
        ("train.batch_size=0", r"^before: train\.batch_size .*Received: 0$"),
        ("train.batch_size", r"must be key=value.*Received: train\.batch_size$"),
    ],
)
def test_a_wrong_change_is_one_sentence(change: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        card_params("before", recipes.parse_changes(change))


def test_the_long_tail_has_a_factor_of_100_and_val_has_its_share_of_every_class() -> None:
    labels = np.repeat(np.arange(10), 600)
    rows = _long_tailed_rows(labels, np.random.default_rng(1))
    counts = np.bincount(labels[rows])
    assert (counts[0], counts[-1]) == (600, 6)
    assert (np.diff(counts) < 0).all()
    assert len(set(rows)) == len(rows)
    in_val = _stratified(labels[rows], 0.15)
    of_val = np.bincount(labels[rows][in_val])
    assert of_val.tolist() == np.maximum(1, np.round(counts * 0.15)).tolist()


@pytest.mark.parametrize(("long_tailed", "images"), [(False, [549, 51, 60]), (True, [188, 34, 60])])
def test_fashion_is_prepared_once_and_test_stays_as_it_is(
    long_tailed: bool, images: list[int], tmp_path: Path
) -> None:
    data = fashion("clothes", write_clothes(tmp_path / "clothes.npz"), long_tailed)
    section = card_params("compact", {"prepare.size": 16}).prepare
    folder = prepared(tmp_path / "work", data, 1, section)
    with chdir(folder):
        splits = [np.load(artifacts.images(split)) for split in SPLITS]
        test = read_test()
    assert [len(split) for split in splits] == images
    assert {split.shape[1:] for split in splits} == {(16, 16, 3)}
    assert test.labels.tolist() == pictures(60, 2)[1].tolist()
    assert prepared(tmp_path / "work", data, 1, section) == folder
    assert [path.name for path in (tmp_path / "work").iterdir()] == [folder.name]


def test_few_photographs_of_each_class_are_chosen_by_seed_and_test_stays_whole() -> None:
    splits = ["train"] * 60 + ["val"] * 10 + ["test"] * 30
    columns = {"label": list("ab") * 100, "split": sorted(splits * 2), "path": range(200)}
    rows = pd.DataFrame(columns)
    kept = _few_rows(rows, 1)
    counts = kept.groupby(["split", "label"]).size().unstack().loc[["train", "val", "test"]]
    assert counts.to_numpy().tolist() == [[25, 25], [5, 5], [30, 30]]
    assert kept["path"].is_monotonic_increasing
    assert set(_few_rows(rows, 2)["path"]) != set(kept["path"])


def test_the_interval_of_paired_differences_grows_with_what_the_splits_share() -> None:
    ours, others = [0.90, 0.86, 0.88], [0.85, 0.85, 0.85]
    alone = difference(ours, others, overlap=0.0)
    mean, high = alone.value, alone.high
    # Student's t for 2 degrees of freedom is 4.303; the deviation of .05, .01 and .03 is .02.
    assert mean == pytest.approx(0.03)
    assert high - mean == pytest.approx(4.303 * 0.02 / np.sqrt(3), rel=1e-3)
    shared = difference(ours, others, overlap=2 / 3)
    assert shared.high - mean == pytest.approx((high - mean) * np.sqrt(3), rel=1e-6)


def test_a_table_has_scores_by_seed_pooled_ece_and_differences() -> None:
    lines = [result(1, "before", 0.80), result(2, "before", 0.90)]
    lines += [result(1, "best", 0.84, cpu_s=30.0), result(2, "best", 0.96, cpu_s=30.0)]
    lines += [result(1, "logistic", 0.7), result(2, "logistic", 0.8)]
    lines += [{**result(1, "best", 0.0), "change": "train.mixup=0.2", "failed": "no memory"}]
    text = table(lines)
    assert "| before |  | 0.800 | 0.900 | 0.850 | 0.850 | 0.050 | 10 | 6 |" in text
    assert "| best |  | 0.840 | 0.960 | 0.900 | 0.900 | 0.000 | 30 | 6 |" in text
    assert "| best | train.mixup=0.2 | failed |" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| best − before")]
    assert row.startswith("| best − before | 2 | +0.050 (")
    assert row.endswith("| 3.00 |")
    assert "| best − logistic | 2 | +0.150" in text
    assert "Commit 0123456789ab with uncommitted changes; load 1.5 to 1.5." in text
    assert "Processor: x86_64, a fast one." in text


def test_the_picture_has_each_recipe_and_each_difference_but_no_failed_training() -> None:
    lines = [result(1, "before", 0.8), result(2, "before", 0.82), result(1, "standard", 0.85)]
    failed = {**result(2, "best", 0.0), "failed": "the loss is not a number"}
    alone = result(3, "quick", 0.7)  # has no seed in common, so nothing to be compared with
    picture = draw([*lines, failed, alone])
    assert picture == draw([*lines, failed, alone])
    written = re.findall(r"<!-- (.*?) -->", picture)
    names = {"before", "standard", "quick", "standard \N{MINUS SIGN} before"}
    assert names <= set(written)
    assert not {name for name in written if "best" in name or "quick \N{MINUS SIGN}" in name}
