"""A champion trained on JAX, a challenger that starts from it, and TensorFlow, which reads both."""

import json

import numpy as np
import pandas as pd
import pytest

from components.model.model_file import model_id
from tests.end_to_end.conftest import edit_params, run

PREDICTIONS = "data/evaluate/predictions.parquet"


@pytest.mark.slow
def test_the_demo_runs_on_jax_and_tensorflow_reads_its_models(clone, tmp_path):
    folder = clone("jax")
    run(folder, "dvc repro", KERAS_BACKEND="jax")
    assert "backend of Keras" in run(folder, "fovea explain 1")
    run(folder, "fovea promote 1 --reason 'the first one'")

    first = model_id(folder / "data/train/model.keras")
    edit_params(folder, {"model": {"weights": f"models:/digits/1#sha256={first}"}})
    assert "phase head" in run(folder, "dvc repro", KERAS_BACKEND="jax")
    verdict = json.loads((folder / "data/register/verdict.json").read_text())
    assert (verdict["version"], verdict["champion"]) == (2, 1)
    lineage = json.loads(run(folder, "fovea explain 2 --json"))["lineage"]
    assert (lineage["backend"], lineage["train.threads"]) == ("jax", "4")

    on_jax = pd.read_parquet(folder / PREDICTIONS)
    run(folder, "dvc repro -f -s evaluate")
    on_tensorflow = pd.read_parquet(folder / PREDICTIONS)
    assert on_tensorflow["predicted"].tolist() == on_jax["predicted"].tolist()
    np.testing.assert_allclose(on_tensorflow["confidence"], on_jax["confidence"], rtol=1e-3)
