"""The stage `validate`: tables, links and report are written before it stops."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.duplicates.links import LINK_COLUMNS
from components.errors import UserError
from components.label_errors.suspects import SCORES
from components.params.reader import Params
from pipelines import artifacts, ingest, validate
from pipelines.formats import read_table, read_tree, write_table
from tests.cards import DIGITS
from tests.pipelines.stages import ROOT, sums, workspace

EVERY = 8  # of TrashNet's 2,527 photographs, 316 in six classes
WRONG = 0.05  # share of the labels


def run_validate(params: Params) -> None:
    """Run the two stages on what lies in data/raw."""
    ingest.run(params.ingest)
    validate.run(params.ingest, params.section("validate"), params.prepare)


def test_the_report_is_written_before_the_stage_fails(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    for path in sorted((artifacts.RAW / "7").iterdir())[3:]:
        path.unlink()
    with pytest.raises(UserError, match=r"images_per_class.*\(7 has 3\)") as caught:
        run_validate(params)
    assert "`on_fail: quarantine` in validate.images_per_class" in str(caught.value)
    assert str(artifacts.VALIDATION_REPORT) in str(caught.value)
    report = json.loads(artifacts.VALIDATION_REPORT.read_text())
    assert report["classes"]["7"] == {"before": 3, "after": 3}
    assert report["outcome"] == "stopped"
    assert "images_per_class" in (artifacts.DATA_DOCS / "index.html").read_text()
    suite = artifacts.DATA_DOCS / "expectations/manifest.html"
    assert "../../report.html" in suite.read_text()
    assert (suite.parent / "../../report.html").resolve() == artifacts.VALIDATION_PAGE.resolve()


def test_accepted_and_quarantined_are_all_rows(
    digits_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    twin = next((artifacts.RAW / "1").iterdir())
    (artifacts.RAW / "2/twin.png").write_bytes(twin.read_bytes())
    (artifacts.RAW / "2/empty.png").touch()
    run_validate(params)
    said = capsys.readouterr().out
    assert "label_conflicts: the same pixels have one label; 2 of" in said
    assert re.search(r"\d+ files accepted, 3 quarantined\n", said)
    tables = [pd.read_parquet(path) for path in (artifacts.ACCEPTED, artifacts.QUARANTINE)]
    manifest = pd.read_parquet(artifacts.MANIFEST)
    assert sorted(pd.concat(tables)["path"]) == manifest["path"].tolist()
    assert dict(tables[1][["path", "reason"]].to_numpy()) == {
        f"1/{twin.name}": "label_conflicts",
        "2/empty.png": "empty_file",
        "2/twin.png": "label_conflicts",
    }
    assert [*tables[0], "reason"] == [*tables[1]]
    assert {*manifest} - {*tables[0]} == {"fingerprint"}


def test_links_between_copies_are_written(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    first = min((artifacts.RAW / "1").iterdir())
    shutil.copy(first, artifacts.RAW / "1/z.png")
    run_validate(params)
    links = pd.read_parquet(artifacts.DUPLICATES)
    assert list(links) == list(LINK_COLUMNS)
    assert links[["path", "other", "kind"]].to_numpy().tolist() == [
        [f"1/{first.name}", "1/z.png", "exact"]
    ]


def test_what_is_written_depends_on_the_manifest_alone(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        workspace(digits_folder, tmp_path / name, monkeypatch)
        run_validate(params)
        written.append(sums(Path("data/validate")))
    assert written[0] == written[1]
    assert len(written[0]) >= 5


def test_no_label_is_doubted_without_a_backbone(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    run_validate(params)
    assert json.loads(artifacts.VALIDATION_REPORT.read_text())["label_errors"] is None
    scores = read_table(artifacts.LABEL_SCORES)
    assert (list(scores), len(scores)) == (list(SCORES), 0)


def test_copies_are_said_on_the_console(
    digits_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Three files have the same pixels, and one of them is in the other split."""
    for split, labels in (("train", "0123"), ("test", "0123")):
        for label in labels:
            folder = tmp_path / "data/raw" / split / label
            folder.mkdir(parents=True)
            paths = sorted((digits_folder / label).iterdir())[split == "test" :: 2]
            for path in paths:
                shutil.copy(path, folder)
    first = min((tmp_path / "data/raw/train/1").iterdir())
    shutil.copy(first, tmp_path / "data/raw/train/1/copy.png")
    shutil.copy(first, tmp_path / "data/raw/test/1/copy.png")
    monkeypatch.chdir(tmp_path)
    run_validate(params)
    assert (
        "2 exact copies, 0 pairs of near copies; 1 set of copies is in several of the given splits"
        in "".join(capfd.readouterr())
    )
    report = read_tree(artifacts.VALIDATION_REPORT)
    assert (report["exact_copy_count"], report["across_splits_count"]) == (2, 1)


@pytest.mark.slow
def test_wrong_labels_of_photographs_are_among_the_first_suspects(
    shared: Path, tmp_path: Path
) -> None:
    keras_home = tmp_path / "keras"
    shutil.copytree(shared / "keras", keras_home)
    wrong = _photographs_with_wrong_labels(shared / "datasets/trashnet", tmp_path / "data/raw")
    card = DIGITS.read_text()
    off = "label_errors:\n    backbone: none"
    assert off in card
    (tmp_path / "params.yaml").write_text(card.replace(off, off.replace("none", "mobilenet_v2")))
    for stage in ("ingest", "validate"):  # a process of its own: Keras reads KERAS_HOME once
        subprocess.run(
            [sys.executable, "-m", "pipelines", stage],
            cwd=tmp_path,
            env=os.environ | {"KERAS_HOME": str(keras_home), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        )
    found = json.loads((tmp_path / artifacts.VALIDATION_REPORT).read_text())["label_errors"]
    ranks = [suspect["path"] for suspect in found["suspects"]]
    print(
        len(wrong), [ranks.index(w) if w in ranks else None for w in wrong], found["suspect_count"]
    )
    assert len(wrong & set(ranks[: 3 * len(wrong)])) >= 0.6 * len(wrong)
    assert len(pd.read_parquet(tmp_path / artifacts.ACCEPTED)) == found["images"]
    scores = pd.read_parquet(tmp_path / artifacts.LABEL_SCORES)
    assert len(scores) == found["images"]
    assert scores["path"].head(100).tolist() == [image["path"] for image in found["ranking"]]
    assert scores["suspected"].sum() == found["suspect_count"]


def _photographs_with_wrong_labels(photographs: Path, raw: Path) -> set[str]:
    """Copy every eighth photograph, some under another class; return the paths of those."""
    generator = np.random.default_rng(3)
    classes = sorted(path.name for path in photographs.iterdir() if path.is_dir())
    wrong = set()
    for source in sorted(photographs.rglob("*.jpg"))[::EVERY]:
        label = source.parent.name
        if generator.random() < WRONG:
            label = generator.choice([name for name in classes if name != label])
            wrong.add(f"{label}/{source.name}")
        (raw / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(source, raw / label / source.name)
    return wrong


def test_a_damaged_table_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"label": ["dog"] * 9, "number": range(9)})
    write_table(artifacts.SPLITS, table)
    pd.testing.assert_frame_equal(read_table(artifacts.SPLITS), table)
    whole = artifacts.SPLITS.read_bytes()
    for damaged in (whole.replace(b"dog", b"doe", 1), whole[:100]):
        assert damaged != whole
        artifacts.SPLITS.write_bytes(damaged)
        with pytest.raises(UserError, match=r"splits\.parquet is damaged.*Received: "):
            read_table(artifacts.SPLITS)
