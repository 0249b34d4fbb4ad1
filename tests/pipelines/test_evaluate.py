import html
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from components.calibration.effect import Effect
from components.calibration.scores import calibration
from components.errors import UserError
from components.files import sha256
from components.images.fingerprints import fingerprint
from components.params.evaluate import Corruptions
from components.tracking import connection
from components.tracking.run_folders import TEST_REPORT
from pipelines import artifacts
from pipelines.evaluate import run
from pipelines.formats import read_tree, write_table, write_tree
from tests.components.origins import ORIGIN
from tests.pipelines.versioned import dvc, flip

ROOT = Path(__file__).parents[2]
NAMES = ("<b>", "glass")
WRITTEN = (
    artifacts.METRICS,
    artifacts.PREDICTIONS,
    artifacts.CONFUSION,
    artifacts.CLASSES,
    artifacts.SLICES,
    artifacts.OPERATING_POINT,
    artifacts.ROBUSTNESS,
    artifacts.CURVES / "roc.csv",
    artifacts.CURVES / "precision_recall.csv",
    artifacts.CURVES / "reliability.csv",
    artifacts.CURVES / "abstention.csv",
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
            "camera": np.where(np.arange(40) % 4 < 2, "phone", "reflex"),
            **{name: generator.random(40) for name in ("brightness", "sharpness", "contrast")},
            **{name: generator.integers(40, 90, 40) for name in ("width", "height")},
        }
    )
    write_table(root / artifacts.rows("test"), rows)
    noise = generator.integers(0, 256, (43, 32, 32), np.uint8)
    paths = [*rows["path"], *(f"glass/{number}.png" for number in range(40, 43))]
    manifest = pd.DataFrame({"path": paths, "fingerprint": [*map(fingerprint, noise)]})
    (root / "data/ingest").mkdir()
    write_table(root / artifacts.MANIFEST, manifest)
    seen = manifest[["path"]].iloc[40:].assign(label="glass")
    write_table(root / artifacts.rows("train"), seen)
    np.save(root / artifacts.images("train"), images[:3].astype(np.uint8))
    write_tree(root / artifacts.PLAN, {"costs": {}})
    counts = {split: dict.fromkeys(NAMES, 20) for split in ("train", "val", "test")}
    statistics = {"class_names": list(NAMES), "counts": counts, "data_id": "d" * 64}
    statistics["pixels"] = {
        split: sha256(root / artifacts.images(split)) for split in ("train", "test")
    }
    write_tree(root / artifacts.STATISTICS, statistics)
    history = pd.DataFrame(
        {"phase": ["finetune"], "epoch": [1], "kept": True, "loss": [0.7], "accuracy": [0.5]}
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
    none = Corruptions(kinds=(), images=10)
    update = {"resamples": 200, "mistakes": 3, "explain": 0, "corruptions": none}
    return params.evaluate.model_copy(update=update)


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
    classes = pd.read_csv(artifacts.CLASSES)
    assert classes["class"].tolist() == list(NAMES)
    assert logged["test_aurc"] == metrics["aurc"]
    names = {file.path for file in MlflowClient().list_artifacts(run_id, "evaluate")}
    assert {"evaluate/metrics.json", "evaluate/curves"} <= names
    shown = tables_in_mlflow(run_id)
    assert list(shown) == [f"{TEST_REPORT}/classes.json", f"{TEST_REPORT}/slices.json"]
    # Stable: the random weights of this network may give both classes the same recall.
    weakest_first = classes.sort_values("recall", kind="stable")
    stored = shown[f"{TEST_REPORT}/classes.json"]
    assert stored["class"].tolist() == weakest_first["class"].tolist()
    # pandas reads some numbers, such as 0.95, from JSON with another last bit than from CSV.
    assert stored["recall"].tolist() == pytest.approx(weakest_first["recall"].tolist())
    reports = [file.path for file in MlflowClient().list_artifacts(run_id, TEST_REPORT)]
    assert reports == [
        f"{TEST_REPORT}/{name}" for name in ("classes.json", "report.html", "slices.json")
    ]
    assert next(iter(logged)) == "test_accuracy"  # as MLflow's page lists them
    ends = [name.endswith(("_low", "_high")) for name in logged]
    assert ends == sorted(ends)


def tables_in_mlflow(run_id):
    """Name of each file that MLflow's page shows as a table → the table."""
    from mlflow import MlflowClient

    run = MlflowClient().get_run(run_id)
    listed = [table["path"] for table in json.loads(run.data.tags["mlflow.loggedArtifacts"])]
    experiment = run.info.experiment_id
    return {path: MlflowClient().load_table(experiment, path, [run_id]) for path in listed}


def test_slices_costs_and_corruptions_are_measured_where_params_ask_for_them(
    workspace, quick, capsys
):
    run(evaluate=quick)
    plain = json.loads(artifacts.METRICS.read_text())
    assert {"top_k_accuracy", "aurc"} <= set(plain)
    assert plain["top_k_accuracy"] is None  # two classes, of which one is among three for sure
    assert not {"expected_cost", "corruption_accuracy", "classes"} & set(plain)
    assert pd.read_csv(artifacts.ROBUSTNESS).empty
    assert "camera = phone" not in pd.read_csv(artifacts.SLICES)["slice"].tolist()
    assert "near a training image" in pd.read_csv(artifacts.SLICES)["slice"].tolist()

    write_tree(artifacts.PLAN, {"costs": {"glass": {"<b>": 5.0}}})
    two = Corruptions(kinds=("contrast", "jpeg_compression"), images=10)
    asked = {"slices": ("camera",), "corruptions": two}
    capsys.readouterr()
    run(evaluate=quick.model_copy(update=asked))
    metrics = json.loads(artifacts.METRICS.read_text())
    assert metrics.items() >= {name: plain[name] for name in ("accuracy", "aurc")}.items()
    predicted, costs = pd.read_parquet(artifacts.PREDICTIONS), np.array([[0, 1], [5, 0]])
    labels, shares = predicted["label_index"].to_numpy(), np.stack(predicted["probabilities"])
    for name, decided in {
        "expected_cost": shares.argmax(axis=1),
        "least_expected_cost": (shares.astype(float) @ costs).argmin(axis=1),
    }.items():
        assert metrics[name] == pytest.approx(costs[labels, decided].mean())
    low, high = metrics["intervals"]["expected_cost"]
    assert low <= metrics["expected_cost"] <= high
    assert pd.read_csv(artifacts.OPERATING_POINT)["class"].tolist() == list(NAMES)
    slices = pd.read_csv(artifacts.SLICES).set_index("slice")
    assert slices.loc["camera = phone", "images"] == 20
    robustness = pd.read_csv(artifacts.ROBUSTNESS)
    assert robustness["images"].tolist() == [10] * 7
    mean = robustness["accuracy"].iloc[1:].mean()
    assert metrics["corruption_accuracy"] == pytest.approx(mean, abs=1e-5)
    assert all(not isinstance(value, dict) for key, value in metrics.items() if key != "intervals")
    said = capsys.readouterr().out
    assert "2 kinds of corruption in 3 severities of 10 images are 60 predictions" in said
    assert "slices: none of 2 slices and 0 pairs is surely weaker than the rest" in said
    assert re.search(r"costs: \d\.\d+ an image for the most probable class", said)


def test_mistakes_are_explained_by_maps_and_training_images_if_params_ask_for_it(
    workspace, quick, capsys
):
    artifacts.images("train").unlink()
    run(evaluate=quick)
    plain = artifacts.REPORT.read_text()
    assert "the map over the image" not in plain
    with pytest.raises(UserError, match=r"train\.images\.npy is missing"):
        run(evaluate=quick.model_copy(update={"explain": 2}))

    shutil.copy(artifacts.images("test"), artifacts.images("train"))
    statistics = read_tree(artifacts.STATISTICS)
    statistics["pixels"]["train"] = statistics["pixels"]["test"]
    write_tree(artifacts.STATISTICS, statistics)
    rows = pd.read_parquet(artifacts.rows("test"))
    wrong = rows.index < 4  # The network has random weights, and may make no mistake.
    rows.loc[wrong, "label_index"] = 1 - rows.loc[wrong, "label_index"]
    rows.loc[wrong, "label"] = [NAMES[index] for index in rows.loc[wrong, "label_index"]]
    write_table(artifacts.rows("test"), rows)
    write_table(artifacts.rows("train"), rows[["path", "label"]])
    capsys.readouterr()
    run(evaluate=quick.model_copy(update={"explain": 2}))
    said = re.search(r"explanations: (\d) mistakes?, compared with 40 tr", capsys.readouterr().out)
    page = artifacts.REPORT.read_text()
    panels = re.findall(r'<figure class="mistake panel".*?</figure>', page, re.DOTALL)
    assert 2 <= len(panels) == int(said[1]) <= 6
    predicted = pd.read_parquet(artifacts.PREDICTIONS).set_index("path")
    for panel in panels:
        # The test images are the training images here, so each is its own nearest one.
        path = html.unescape(re.sub("<.*?>", "", re.search(r"<code>(.*?)</code>", panel)[1]))
        nearest = html.unescape(re.search(r'class="near">.*?title="(.*?)"', panel, re.DOTALL)[1])
        assert nearest == path
        assert predicted.loc[path, "label"] != predicted.loc[path, "predicted"]


def test_a_wrong_slice_column_stops_the_stage_before_a_prediction(workspace, quick, monkeypatch):
    monkeypatch.setattr("pipelines.evaluate.predict", None)
    with pytest.raises(UserError, match=r"^evaluate\.slices: .* camera.* Received: kamera$"):
        run(evaluate=quick.model_copy(update={"slices": ("kamera",)}))


def test_a_second_run_gives_the_same_bytes(workspace, quick):
    noise = Corruptions(kinds=("shot_noise",), images=9)
    quick = quick.model_copy(update={"corruptions": noise, "explain": 2})
    run(evaluate=quick)
    first = [sha256(path) for path in WRITTEN]
    shutil.rmtree("data/evaluate")
    run(evaluate=quick)
    assert [sha256(path) for path in WRITTEN] == first


def test_other_classes_than_the_prepared_ones_are_refused(workspace, quick):
    statistics = read_tree(artifacts.STATISTICS)
    write_tree(artifacts.STATISTICS, {**statistics, "class_names": ["glass", "paper"]})
    with pytest.raises(UserError, match=r"only in the model: <b>; only in the data: paper$"):
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


def test_dvc_shows_the_metrics_and_a_confusion_matrix_with_a_row_for_each_actual_class(
    workspace, quick
):
    run(evaluate=quick)
    dvc("init", "--no-scm")
    listed = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    (matrix,) = [plot for plot in listed if str(artifacts.CONFUSION) in plot]
    assert matrix[str(artifacts.CONFUSION)]["y"] == "actual"
    write_tree(Path("dvc.yaml"), {"metrics": [str(artifacts.METRICS)], "plots": [matrix]})
    shown = subprocess.run(
        [sys.executable, "-m", "dvc", "metrics", "show", "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    figures = json.loads(shown.stdout)[""]["data"][str(artifacts.METRICS)]["data"]
    assert {"accuracy", "macro_f1", "macro_roc_auc", "ece", "aurc"} <= set(figures)
    dvc("plots", "show", "-o", "plots")
    page = Path("plots/index.html").read_text()
    assert '"actual"' in page
    assert "xy_count" in page  # the count of rows that DVC's confusion template makes
