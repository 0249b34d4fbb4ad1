"""The Prefect flow: the same files as `dvc repro`, byte for byte, a task run a stage."""

import filecmp
import json

import pytest

from tests.end_to_end.conftest import run
from tests.end_to_end.test_repro import STAGES


@pytest.mark.slow
def test_the_flow_gives_what_dvc_repro_gives(clone, first_generation, tmp_path):
    folder = clone("flow")
    home = str(tmp_path / "prefect")
    printed = run(folder, "fovea retrain", PREFECT_HOME=home)

    for same in ("dvc.lock", "data/evaluate/predictions.parquet", "data/train/model.keras"):
        assert filecmp.cmp(folder / same, first_generation / same, shallow=False), same
    for stage in STAGES:
        assert f"Running stage '{stage}'" in printed
    listed = run(folder, "prefect task-run ls --limit 50 -o json", PREFECT_HOME=home)
    tasks, _ = json.JSONDecoder().raw_decode(listed[listed.index("[\n") :])  # a log line follows
    names = [task["name"] for task in tasks]
    # The cache of the clone does not have the images yet, so DVC also looks at data/raw.dvc.
    assert sorted(names) == sorted(["data/raw.dvc", *STAGES])
