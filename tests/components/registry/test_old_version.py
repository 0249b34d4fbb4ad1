"""A version that an older Fovea registered loads, predicts, is compared with and gone back to."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.calibration.outputs import calibrate
from components.calibration.temperature import softmax
from components.files import sha256
from components.model.classifier import outputs, predict
from components.model.model_file import read_classifier
from components.model.warm_start import warm_start_classifier
from components.params.reader import Params
from components.registry.contest import Contest, judge_against
from components.registry.promotion import promote, rollback
from components.registry.seen import DataSet, nothing_seen
from components.registry.standing import history
from components.registry.versions import champion, download, find_version, register_version
from components.registry.weights import resolve_weights
from components.tracking.connection import client, experiment_id
from components.tracking.runs import adopt_model
from components.training_set.examples import Examples
from tests.components.origins import ORIGIN
from tests.components.splits.split_tables import links_of

OLD = Path(__file__).parent / "old_version"
NAMES = ("blue", "green", "red")
IMAGES = 60


@pytest.fixture
def old(workspace: Path) -> str:
    """A store in which `colours` has the old version as champion; returns the model's name."""
    tags = json.loads((OLD / "tags.json").read_text())
    file = workspace / "stored/data/model.keras"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.decompress((OLD / "model.keras.gz").read_bytes()))
    run = adopt_model(tags["version"]["model_id"], ORIGIN)
    logged = client().create_logged_model(experiment_id(), "colours", run.id)
    client().log_model_artifacts(logged.model_id, str(workspace / "stored"))
    client().finalize_logged_model(logged.model_id, "READY")
    client().create_registered_model("colours", tags=tags["model"])
    source = f"models:/{logged.model_id}"
    client().create_model_version("colours", source, run.id, tags=tags["version"])
    client().set_registered_model_alias("colours", "champion", "1")
    return "colours"


def images(labels: np.ndarray) -> np.ndarray:
    """Noise, uint8 [N, 8, 8, 3], in which the channel of the label is brighter."""
    pixels = np.random.default_rng(2).integers(0, 160, (len(labels), 8, 8, 3))
    for number, label in enumerate(labels):
        pixels[number, :, :, 2 - label] += 80
    return pixels.astype(np.uint8)


def test_an_old_version_loads_and_predicts(old: str, params: Params) -> None:
    version = find_version(old, "champion")
    classifier = read_classifier(download(version))
    assert (classifier.class_names, classifier.size, classifier.resize) == (NAMES, 8, "squash")
    labels = np.arange(IMAGES) % 3
    assert (predict(classifier, images(labels)).argmax(axis=1) == labels).mean() > 0.95
    warm = params.model.model_copy(update={"weights": version.reference})
    assert resolve_weights(warm) == download(version)


def test_training_starts_from_an_old_version_and_then_gives_it_a_temperature(
    old: str, params: Params
) -> None:
    """The old network has no layer `temperature`; a new one starts from its logits."""
    source = read_classifier(download(find_version(old, "champion")))
    labels = np.arange(IMAGES) % 3
    logits = outputs(source.logits_model, images(labels))
    assert "temperature" not in [layer.name for layer in source.model.layers]
    model = params.model.model_copy(update={"width": 0.1})
    warm = warm_start_classifier(model, NAMES, 8, "squash", source, "")
    np.testing.assert_array_equal(outputs(warm.logits_model, images(labels)), logits)
    calibrated, effect = calibrate(warm, Examples(images(labels), labels))
    expected = softmax(logits.astype(np.float64) / effect.temperature)
    found = predict(calibrated, images(labels))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("right", "decision"), [(IMAGES, "hold"), (IMAGES // 2, "reject")])
def test_a_challenger_is_compared_with_an_old_version(
    right: int, decision: str, old: str, params: Params, tmp_path: Path
) -> None:
    labels = np.arange(IMAGES) % 3
    paths = [f"{number}.png" for number in range(IMAGES)]
    rows = pd.DataFrame({"path": paths, "image_id": "", "label_index": labels})
    ids = [f"{number:064x}" for number in range(IMAGES)]
    table = pd.DataFrame({"path": paths, "pixels_id": ids, "group": None, "split": "test"})
    data = DataSet(table, links_of([]))
    prepare = params.prepare.model_copy(update={"size": 8, "resize": "squash"})
    contest = Contest(rows, images(labels), tmp_path, NAMES, params.ingest, prepare, data)
    answers = np.where(np.arange(IMAGES) < right, labels, (labels + 1) % 3)
    probabilities = np.eye(3, dtype=np.float32)[answers]
    register = params.register_.model_copy(update={"name": old, "resamples": 200})
    seen, reigning = nothing_seen(), champion(old)
    verdict = judge_against(reigning, "another", probabilities, seen, contest, register, 0)
    assert verdict.decision == decision
    assert verdict.reasons[-1].startswith("not known what version 1 of colours was trained on")
    assert verdict.comparison[0].champion.value > 0.95


def test_an_old_version_is_gone_back_to_and_its_promotion_is_on_record(old: str) -> None:
    Path("model.keras").write_bytes(b"new")
    run = adopt_model(sha256(Path("model.keras")), ORIGIN)
    number = register_version(
        old, Path("model.keras"), run, np.zeros((1, 8, 8, 3), np.uint8), 3, {}
    )
    promote(old, str(number), "better", "Ann", override=True)
    rollback(old, "wrong alarms", "Ann")
    version = champion(old)
    assert version is not None
    assert version.number == 1
    decisions = [(event.kind, event.version, event.to_version) for event in history(old)]
    assert decisions == [("promote", 1, 1), ("promote", 2, 2), ("rollback", 2, 1)]
