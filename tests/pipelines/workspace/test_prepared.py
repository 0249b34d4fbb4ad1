"""Whether the prepared data are of the params and the images of now, by dvc.lock."""

from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.workspace.prepared import check_prepared

PARAMS = """\
ingest: {decode: {max_bytes: 50_000_000}}
prepare: {size: 64, resize: squash}
balance: {strategy: none, effective_number_beta: 0.00001}
train: {seed: 1}
"""
LOCK = """\
schema: '2.0'
stages:
  ingest:
    deps:
    - {path: components/files.py, md5: code}
    - {path: data/raw, md5: images.dir}
    params: {params.yaml: {ingest: {decode: {max_bytes: 50000000}}}}
    outs: [{path: data/ingest/manifest.parquet, md5: manifest}]
  prepare:
    deps:
    - {path: data/raw, md5: images.dir}
    - {path: data/ingest/manifest.parquet, md5: manifest}
    params: {params.yaml: {prepare: {size: 64, resize: squash}, prepare.size: 64}}
    outs: [{path: data/prepare/statistics.json, md5: statistics}]
  balance:
    deps: [{path: data/prepare/statistics.json, md5: statistics}]
    params: {params.yaml: {balance: {strategy: none, effective_number_beta: 1e-05}}}
    outs: [{path: data/balance/plan.json, md5: plan}]
  train:
    deps: [{path: data/balance/plan.json, md5: earlier}]
    params: {params.yaml: {train: {seed: 2}}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    Path("dvc.lock").write_text(LOCK)
    Path("data").mkdir()
    Path("data/raw.dvc").write_text("outs: [{md5: images.dir, path: raw, hash: md5}]")


def replace(file: str, old: str, new: str) -> None:
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new))


def test_the_same_params_and_images_are_accepted(here: None) -> None:
    check_prepared()  # although the stage `train` has to run


@pytest.mark.parametrize(
    ("file", "old", "new", "received"),
    [
        ("params.yaml", "size: 64", "size: 128", r"prepare\.size: 128, but 64 when the stages ran"),
        ("params.yaml", "gy: none", "gy: oversample", r"strategy: 'oversample', but 'none' when"),
        ("params.yaml", "{size: 64, ", "{", r"prepare\.size: null, but 64 when the stages ran"),
        ("data/raw.dvc", "images", "more_images", "another data/raw than ingest has read"),
        ("dvc.lock", "md5: statistics}]\n    p", "md5: old}]\n    p", "json than balance has read"),
    ],
)
def test_what_has_changed_is_named(
    here: None, file: str, old: str, new: str, received: str
) -> None:
    replace(file, old, new)
    sentence = rf"are out of date; run `dvc repro balance` first\. Received: .*{received}"
    with pytest.raises(UserError, match=sentence):
        check_prepared()


def test_stages_that_ran_without_dvc_are_not_judged(here: None) -> None:
    replace("params.yaml", "size: 64", "size: 128")
    replace("dvc.lock", "  prepare:", "  other:")
    check_prepared()
    Path("dvc.lock").unlink()
    check_prepared()
