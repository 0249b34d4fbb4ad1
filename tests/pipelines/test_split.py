"""The stage `split`, from accepted images and links between copies to splits."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from components.errors import UserError
from components.params.reader import Params
from components.splits.splits import Splits, assign_splits
from pipelines import artifacts, split
from pipelines.formats import write_table
from tests.components.splits.split_tables import SPLIT, Image, accepted_of, links_of, unlike
from tests.pipelines.stages import sums

Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs the stage on what `validate` would leave of these images."""
    monkeypatch.chdir(tmp_path)

    def on(images: list[Image], **params: object) -> None:
        extras = {"bytes": 1, "camera": "left"}
        write_table(artifacts.ACCEPTED, accepted_of(images).assign(**extras))
        write_table(artifacts.DUPLICATES, links_of(images))
        split.run(SPLIT.model_copy(update=params))

    return on


def with_series() -> list[Image]:
    frames = [Image(f"dog/frame{n}.png", "dog", -50 + n / 40) for n in range(40)]
    return [*unlike("cat", 60), *unlike("dog", 60), *frames]


def given(leak: bool) -> list[Image]:
    split_names = ("train", "train", "val", "test")
    images = [
        replace(image, given_split=split_names[n % 4])
        for label in ("cat", "dog")
        for n, image in enumerate(unlike(label, 40))
    ]
    return [*images, replace(images[0], path="cat/again.png", given_split="test")][
        : 81 if leak else 80
    ]


def test_split_gives_every_accepted_image_a_split_or_sets_it_aside_and_says_the_counts(
    prepared_digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(prepared_digits, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    shutil.rmtree("data/split")
    split.run(params.split)
    accepted, splits = pd.read_parquet(artifacts.ACCEPTED), pd.read_parquet(artifacts.SPLITS)
    aside = pd.read_parquet(artifacts.SET_ASIDE)
    kept = ~accepted["path"].isin(aside["path"])
    assert splits.drop(columns="split").equals(accepted[kept].reset_index(drop=True))
    assert len(splits) + len(aside) == len(accepted)
    assert splits.groupby("label")["split"].nunique().tolist() == [3] * 10
    counts = splits["split"].value_counts()
    said = capsys.readouterr().out
    assert f"train {counts['train']} (" in said
    assert re.search(
        r"largest difference from params.yaml: class \d, \w+ [\d.]+% \(\d+ of \d+\)", said
    )


def test_what_is_left_out_is_listed_with_its_cause_and_reported(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run(with_series())
    splits, aside = pd.read_parquet(artifacts.SPLITS), pd.read_parquet(artifacts.SET_ASIDE)
    accepted = pd.read_parquet(artifacts.ACCEPTED)
    assert [*accepted.columns, "split"] == list(splits.columns)
    assert [*accepted.columns, "reason", "because_of"] == list(aside.columns)
    assert sorted([*splits["path"], *aside["path"]]) == sorted(accepted["path"])
    assert aside["path"].str.contains("frame").all()
    assert set(aside["reason"]) == {"near_copy_in_train"}
    assert not set(aside["because_of"]) - set(splits.loc[splits["split"] == "train", "path"])
    said = capsys.readouterr().out
    assert f"{len(aside)} of " in said
    assert "; data/split/set_aside.parquet lists them" in said
    assert "make each series a group" in said


def test_shares_are_written_for_every_class_and_split(run: Run) -> None:
    run(with_series())
    shares, splits = pd.read_csv(artifacts.SHARES), pd.read_parquet(artifacts.SPLITS)
    assert shares.columns.tolist() == ["label", "side", "images", "share", "asked"]
    assert len(shares) == 6
    assert shares["images"].sum() == len(splits)
    row = shares.set_index(["label", "side"]).loc["cat", "test"]
    of_class = splits[splits["label"] == "cat"]
    assert row["images"] == (of_class["split"] == "test").sum()
    assert row["share"] == pytest.approx(row["images"] / len(of_class), abs=1e-6)
    assert row["asked"] == 0.15


def test_without_copies_the_table_of_what_is_set_aside_is_empty_and_has_its_columns(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run(unlike("cat", 60) + unlike("dog", 60))
    aside = pd.read_parquet(artifacts.SET_ASIDE)
    assert aside.empty
    assert aside.columns.tolist()[-2:] == ["reason", "because_of"]
    assert pd.read_csv(artifacts.LEAKS).empty
    assert "set aside" not in capsys.readouterr().out


def test_a_given_split_with_a_leak_stops_the_run_once_the_leaks_are_listed(run: Run) -> None:
    with pytest.raises(UserError, match=r"1 image has .*leaks\.csv lists them.*: cat/again"):
        run(given(leak=True))
    leaks = pd.read_csv(artifacts.LEAKS)
    assert leaks.to_numpy().tolist() == [
        ["cat/again.png", "test", "copy_in_train", "cat/0.png", 1.0]
    ]
    assert not artifacts.SPLITS.exists()


def test_a_given_split_is_kept_and_its_leaks_set_aside_where_that_is_asked_for(run: Run) -> None:
    run(given(leak=True), given="set_aside")
    splits, aside = pd.read_parquet(artifacts.SPLITS), pd.read_parquet(artifacts.SET_ASIDE)
    assert splits["split"].tolist() == splits["given_split"].tolist()
    assert aside["path"].tolist() == ["cat/again.png"]
    assert pd.read_csv(artifacts.LEAKS)["path"].tolist() == ["cat/again.png"]


def test_folds_are_a_column_of_the_splits_and_are_reported(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run(given(leak=False), folds=4)
    splits = pd.read_parquet(artifacts.SPLITS)
    assert splits["fold"].isna().tolist() == (splits["split"] == "test").tolist()
    assert splits["fold"].dropna().nunique() == 4
    assert "4 folds of " in capsys.readouterr().out


def test_a_second_run_writes_the_same_bytes(run: Run) -> None:
    run(with_series(), folds=3)
    before = sums(Path("data/split"))
    run(with_series(), folds=3)
    assert sums(Path("data/split")) == before
    assert len(before) == 4


def test_a_leak_of_our_own_making_fails_the_stage_and_no_split_is_written(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(accepted: pd.DataFrame, links: pd.DataFrame, *rest: object) -> Splits:
        return assign_splits(accepted, links.iloc[:0], *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(split, "assign_splits", careless)
    with pytest.raises(RuntimeError, match=r"dog/frame\d+\.png \(\w+\) and dog/frame\d+\.png"):
        run(with_series())
    assert not artifacts.SPLITS.exists()


def test_without_links_the_stage_before_is_named(run: Run, params: Params) -> None:
    write_table(artifacts.ACCEPTED, accepted_of(unlike("cat", 60)))
    with pytest.raises(UserError, match=r"run `dvc repro validate` first.*duplicates"):
        split.run(params.split)
