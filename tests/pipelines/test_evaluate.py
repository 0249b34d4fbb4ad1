import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.calibration.effect import Effect
from components.calibration.scores import calibration
from components.errors import UserError
from components.files import sha256
from components.tracking import connection
from pipelines import artifacts
from pipelines.evaluate import run
from pipelines.formats import read_tree, write_table, write_tree
from tests.components.origins import ORIGIN
from tests.pipelines.versioned import dvc, flip

NAMES = ("<b>", "glass")
WRITTEN = (
    artifacts.METRICS,
    artifacts.PREDICTIONS,
    artifacts.CONFUSION,
    artifacts.CURVES / "roc.csv",
    artifacts.CURVES / "precision_recall.csv",
    artifacts.REPORT,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, params, tiny_backbone) -> Path:
    """A folder as `prepare` and `train` leave it: dark and bright squares, a real classifier."""
    from components.model.classifier import build_classifier
    from components.model.model_file import write_classifier

    root = tmp_path_factory.mktemp("trained")
    labels = np.arange(40) % 2
    generator = np.random.default_rng(0)
    images = generator.integers(0, 128, (40, 32, 32, 3)) + 120 * labels[:, None, None, None]
    (root / "data/prepare").mkdir(parents=True)
    np.save(root / artifacts.images("test"), images.astype(np.uint8))
    rows = pd.DataFrame(
        {
            "image_id": [f"{number:064x}" for number in range(40)],
            "path": [f"{NAMES[label]}/{number}.png" for number, label in enumerate(labels)],
            "label": [NAMES[label] for label in labels],
            "label_index": labels,
        }
    )
    write_table(root / artifacts.rows("test"), rows)
    counts = {split: dict.fromkeys(NAMES, 20) for split in ("train", "val", "test")}
    statistics = {"class_names": list(NAMES), "counts": counts, "data_id": "d" * 64}
    statistics["pixels"] = {"test": sha256(root / artifacts.images("test"))}
    write_tree(root / artifacts.STATISTICS, statistics)
    history = pd.DataFrame(
        {"phase": ["finetune"], "epoch": [1], "loss": [0.7], "accuracy": [0.5]}
    ).assign(val_loss=0.7, val_accuracy=0.5, val_balanced_accuracy=0.5, learning_rate=0.01)
    write_table(root / artifacts.HISTORY, history)
    measured = calibration(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    effect = Effect(1.25, 2, measured, measured, ())
    write_tree(root / artifacts.CALIBRATION, effect.to_tree())
    narrow = params.model.model_copy(update={"width": 0.25})
    write_classifier(root / artifacts.MODEL, build_classifier(narrow, NAMES, 32, "squash"))
    return root


@pytest.fixture
def workspace(trained, empty_store, tmp_path, monkeypatch) -> Path:
    """A copy of it to work in, with a store of its own."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tmp_path


@pytest.fixture
def quick(params):
    return params.evaluate.model_copy(update={"resamples": 200, "mistakes": 3})


def test_evaluate_writes_every_file_and_logs_it_to_the_run_of_the_model(workspace, quick, capsys):
    from mlflow import MlflowClient

    from components.model.model_file import model_id
    from components.tracking.runs import adopt_model, run_of_model

    run_id = adopt_model(model_id(artifacts.MODEL), ORIGIN).id
    run(evaluate=quick)
    metrics = json.loads(artifacts.METRICS.read_text())
    assert (
        capsys.readouterr().out.splitlines()[-1].startswith(f"accuracy {metrics['accuracy']:.3f} (")
    )
    assert all(path.is_file() for path in WRITTEN)
    assert run_of_model(model_id(artifacts.MODEL)).id == run_id
    logged = MlflowClient().get_run(run_id).data.metrics
    assert logged["test_accuracy"] == pytest.approx(metrics["accuracy"], abs=1e-6)
    assert logged["test_ece"] == metrics["ece"]
    assert logged["test_recall/class 0"] == metrics["classes"]["<b>"]["recall"]
    names = {file.path for file in MlflowClient().list_artifacts(run_id, "evaluate")}
    assert {"evaluate/report.html", "evaluate/metrics.json", "evaluate/curves"} <= names


def test_a_second_run_gives_the_same_bytes(workspace, quick):
    run(evaluate=quick)
    first = [sha256(path) for path in WRITTEN]
    shutil.rmtree("data/evaluate")
    run(evaluate=quick)
    assert [sha256(path) for path in WRITTEN] == first


def test_other_classes_than_the_prepared_ones_are_refused(workspace, quick):
    statistics = read_tree(artifacts.STATISTICS)
    write_tree(artifacts.STATISTICS, {**statistics, "class_names": ["glass", "paper"]})
    with pytest.raises(UserError, match=r"Received: model <b>, glass; data glass, paper$"):
        run(evaluate=quick)


def test_damaged_pixels_are_not_measured_on(workspace, quick):
    flip(artifacts.images("test"))
    with pytest.raises(UserError, match=r"test\.images\.npy is not the file"):
        run(evaluate=quick)
    assert not artifacts.METRICS.exists()


def test_an_unreachable_mlflow_stops_the_stage_before_any_work(workspace, quick, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setattr(connection, "REMOTE_LIMIT_S", 1.0)
        start = time.monotonic()
        with pytest.raises(UserError, match=address):
            run(evaluate=quick)
    assert time.monotonic() - start < 20
    assert not artifacts.METRICS.exists()


def test_dvc_shows_the_metrics_and_a_confusion_matrix(workspace, quick):
    run(evaluate=quick)
    dvc("init", "--no-scm")
    Path("dvc.yaml").write_text(
        f"metrics: [{artifacts.METRICS}]\n"
        f"plots:\n- {artifacts.CONFUSION}: {{template: confusion, x: actual, y: predicted}}\n"
    )
    shown = subprocess.run(
        [sys.executable, "-m", "dvc", "metrics", "show", "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    figures = json.loads(shown.stdout)[""]["data"][str(artifacts.METRICS)]["data"]
    assert {"accuracy", "macro_f1", "macro_roc_auc", "ece", "classes"} <= set(figures)
    dvc("plots", "show", "-o", "plots")
    page = Path("plots/index.html").read_text()
    assert '"actual"' in page
    assert "xy_count" in page  # the count of rows that DVC's confusion template makes
