"""TrashNet and genuine ImageNet weights, shortened: photographs through the whole pipeline."""

import json
import shutil

import pandas as pd
import pytest

from tests.end_to_end.conftest import copy_repository, edit_params, run

PHOTOGRAPHS = {
    "prepare": {"size": 112},
    "model": {"backbone": "mobilenet_v2", "width": 0.35, "weights": "imagenet"},
    "train": {"finetune": {"epochs": 1, "learning_rate": 0.0003}},
    "register": {"name": "trashnet"},
}


@pytest.mark.slow
def test_trashnet_is_checked_trained_and_registered(shared, tmp_path):
    folder = tmp_path / "fovea"
    folder.mkdir()
    copy_repository(folder)
    edit_params(folder, PHOTOGRAPHS)
    shutil.copytree(shared / "datasets/trashnet", folder / "data/raw")
    keras_home = shutil.copytree(shared / "keras", tmp_path / "keras")
    run(folder, "dvc add -q data/raw && git add -A && git commit -qm trashnet")
    run(folder, "dvc repro", KERAS_HOME=str(keras_home))

    quarantined = pd.read_parquet(folder / "data/validate/quarantine.parquet")
    files = {path.rsplit("/", 1)[-1].removesuffix(".jpg") for path in quarantined["path"]}
    assert files == {"metal91", "glass115", "plastic152", "glass176", "plastic332", "glass389"}
    metrics = json.loads((folder / "data/evaluate/metrics.json").read_text())
    assert metrics["macro_f1"] > 0.7  # at 224 pixels and 8 epochs it is about 0.88
    verdict = json.loads((folder / "data/register/verdict.json").read_text())
    assert (verdict["name"], verdict["version"]) == ("trashnet", 1)
