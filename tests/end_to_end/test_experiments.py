"""What a DVC user expects of experiments, metrics and plots."""

import json

import pytest

from tests.end_to_end.conftest import run, stages_run

pytestmark = pytest.mark.slow


def test_an_experiment_is_run_compared_and_drawn(continued):
    run(continued, "git add -A && git commit -qm 'first model'")
    printed = run(continued, "dvc exp run -S train.label_smoothing=0.3 -S train.finetune.epochs=1")
    assert stages_run(printed) == ["search", "train", "evaluate", "register"]

    diff = json.loads(run(continued, "dvc metrics diff --json"))
    assert {"accuracy", "ece"} <= diff["data/evaluate/metrics.json"].keys()
    assert {"temperature", "before.ece", "after.ece"} <= diff["data/train/calibration.json"].keys()
    params = json.loads(run(continued, "dvc params diff --json"))
    assert params["params.yaml"]["train.label_smoothing"]["new"] == 0.3

    run(continued, "dvc plots show")
    page = (continued / "dvc_plots/index.html").read_text()
    curves = ("roc.csv", "precision_recall.csv", "reliability.csv", "abstention.csv")
    for drawn in ("loss", "confusion.csv", *curves):
        assert drawn in page
    experiments = json.loads(run(continued, "dvc exp show --json"))
    assert len(experiments) >= 2
