import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.errors import UserError
from components.files import sha256
from components.images.png_writer import encode_png
from components.params.reader import Params
from components.registry.promotion import promote, rollback
from components.registry.versions import champion, find_version, versions
from components.tracking.connection import client
from components.tracking.runs import run_of_model
from pipelines import artifacts, register
from pipelines.formats import read_table, read_tree, write_table, write_tree
from tests.components.origins import ORIGIN
from tests.pipelines.versioned import flip

NAMES = ("bright", "dark")
SIZE = 8
IMAGES = 60


def write_model(
    slope: float,
    names: Sequence[str] = NAMES,
    size: int = SIZE,
    sixteen_bit: str | dict[str, dict[str, int]] = "high_byte",
) -> None:
    """Write a classifier that calls images bright above grey; it is right where slope > 0."""
    import keras

    from components.model.classifier import Classifier
    from components.model.model_file import write_classifier

    pixels = keras.Input((size, size, 3), dtype="uint8")
    hidden = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, -1.0)(pixels))
    head = keras.layers.Dense(len(names), activation="softmax")
    model = keras.Model(pixels, head(hidden))
    signs = np.array([{"bright": 1, "dark": -1}.get(name, 0) for name in names])
    head.set_weights([np.tile(slope * signs, (3, 1)), np.zeros(len(names))])
    classifier = Classifier(model, tuple(names), size, "squash", "none", sixteen_bit)
    write_classifier(artifacts.MODEL, classifier)


def evaluate() -> None:
    """Leave what `evaluate` leaves, by the model as it is."""
    from components.evaluation.predictions import predictions
    from components.model.classifier import predict
    from components.model.model_file import read_classifier
    from components.training_set.pixels import read_images

    rows = read_table(artifacts.rows("test"))
    probabilities = predict(read_classifier(artifacts.MODEL), read_images(artifacts.images("test")))
    write_table(artifacts.PREDICTIONS, predictions(rows, probabilities, NAMES))


def write_test_images() -> None:
    """Leave what `prepare` leaves of a test split, and the images it was made from."""
    labels = np.arange(IMAGES) % 2
    noise = np.random.default_rng(0).integers(0, 100, (IMAGES, SIZE, SIZE, 3))
    images = (noise + 120 * (1 - labels)[:, None, None, None]).astype(np.uint8)
    rows = []
    for number, (label, pixels) in enumerate(zip(labels, images, strict=True)):
        path, content = f"{NAMES[label]}/{number:02d}.png", encode_png(pixels)
        file = artifacts.RAW / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        image_id = hashlib.sha256(content).hexdigest()
        rows.append((path, NAMES[label], image_id, label))
    table = pd.DataFrame(rows, columns=["path", "label", "image_id", "label_index"])
    write_table(artifacts.rows("test"), table)
    np.save(artifacts.images("test"), images)
    statistics = {"class_names": list(NAMES), "data_id": "d" * 64, "split_id": "e" * 64}
    statistics["pixels"] = {"test": sha256(artifacts.images("test"))}
    write_tree(artifacts.STATISTICS, statistics)


@pytest.fixture
def workspace(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        if "TELEMETRY" not in name:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, "mlflow.db")
    Path("data/prepare").mkdir(parents=True)
    write_test_images()
    return tmp_path


def run(params: Params, how: str = "manual", size: int = SIZE) -> dict[str, object]:
    """Run the stage after the model was written, and return its verdict."""
    evaluate()
    section = params.register_.model_copy(update={"promote": how, "resamples": 200})
    prepare = params.prepare.model_copy(update={"size": size})
    register.run(1, params.ingest, prepare, section)
    found: dict[str, object] = json.loads(artifacts.VERDICT.read_text())
    return found


def reigning() -> int | None:
    version = champion("digits")
    return version.number if version else None


def test_the_first_good_model_becomes_version_1_and_challenger(
    workspace: Path, params: Params
) -> None:
    write_model(5.0)
    verdict = run(params)
    assert (verdict["decision"], verdict["version"], verdict["champion"]) == ("promote", 1, None)
    version = find_version("digits", "challenger")
    assert version.number == 1
    assert version.tags["split_id"] == "e" * 64
    assert version.tags["verdict"] == "promote"
    assert reigning() is None


def test_the_run_of_the_model_has_the_verdict(workspace: Path, params: Params) -> None:
    write_model(5.0)
    run(params)
    tracked = run_of_model(sha256(artifacts.MODEL))
    assert tracked is not None
    assert tracked.read_text("register/digits/verdict.json") == artifacts.VERDICT.read_text()
    assert client().get_run(tracked.id).data.tags["registered"] == "digits/1"


def test_a_second_run_registers_nothing_new_and_writes_the_same_bytes(
    workspace: Path, params: Params
) -> None:
    write_model(5.0)
    run(params)
    before = artifacts.VERDICT.read_bytes()
    run(params)
    assert artifacts.VERDICT.read_bytes() == before
    assert len(versions("digits")) == 1


def test_the_verdict_holds_no_time_run_or_path(workspace: Path, params: Params) -> None:
    write_model(5.0)
    run(params)
    text = artifacts.VERDICT.read_text()
    tracked = run_of_model(sha256(artifacts.MODEL))
    assert tracked is not None
    assert tracked.id not in text
    assert str(workspace) not in text


def test_auto_promotes_a_better_model_and_never_a_worse_one(
    workspace: Path, params: Params
) -> None:
    write_model(0.0)  # calls everything bright
    floors = params.register_.floors.model_copy(
        update={"accuracy": 0.0, "balanced_accuracy": 0.0, "recall": 0.0}
    )
    lenient = params.model_copy(
        update={"register_": params.register_.model_copy(update={"floors": floors})}
    )
    assert run(lenient, "auto")["decision"] == "promote"
    write_model(5.0)
    verdict = run(lenient, "auto")
    assert (verdict["decision"], verdict["champion"], reigning()) == ("promote", 1, 2)
    write_model(-5.0)
    assert run(lenient, "auto")["decision"] == "reject"
    assert reigning() == 2


def test_auto_leaves_a_version_that_a_reviewer_took_back(workspace: Path, params: Params) -> None:
    write_model(0.1)
    run(params)
    promote("digits", "1", "first", "Ann")
    write_model(5.0)
    run(params)
    promote("digits", "2", "second", "Ann")
    rollback("digits", "wrong alarms", "Ann")
    run(params, "auto")
    assert reigning() == 1


def test_damaged_pixels_stop_the_stage_and_register_nothing(
    workspace: Path, params: Params
) -> None:
    write_model(5.0)
    flip(artifacts.images("test"))
    with pytest.raises(UserError, match=r"test\.images\.npy is not the file"):
        run(params)
    assert not artifacts.VERDICT.exists()
    assert versions("digits") == ()


def test_the_champion_itself_is_held(workspace: Path, params: Params) -> None:
    write_model(5.0)
    run(params)
    promote("digits", "1", "first", "Ann")
    verdict = run(params, "auto")
    assert verdict["decision"] == "hold"
    assert verdict["reasons"] == ["this model is the champion already, as version 1"]


@pytest.mark.parametrize(
    ("names", "size"),
    [(("dark", "bright"), SIZE), (("bright", "dark", "foggy"), SIZE), (NAMES, 16)],
    ids=["other class order", "a class that is no more", "other size"],
)
def test_a_champion_of_another_shape_is_scored_on_the_same_images(
    workspace: Path, params: Params, names: tuple[str, ...], size: int
) -> None:
    write_model(5.0)
    run(params)
    challenger_file = artifacts.MODEL.read_bytes()
    write_model(4.0, names, size)
    promoted = register_as_it_is(params, len(names), size)
    promote("digits", str(promoted), "of another shape", "Ann")
    artifacts.MODEL.write_bytes(challenger_file)
    verdict = run(params)
    accuracy = verdict["comparison"][0]  # type: ignore[index]
    assert (accuracy["metric"], accuracy["champion"]["value"]) == ("accuracy", 1.0)
    assert verdict["decision"] == "hold"


def test_a_champion_sees_images_of_16_bits_by_its_own_rule(workspace: Path, params: Params) -> None:
    rows = read_table(artifacts.rows("test"))
    for path in rows["path"]:  # the same pictures, in the lower 8 of 16 bits
        values = np.asarray(Image.open(artifacts.RAW / path))[..., 0].astype(np.uint16)
        Image.fromarray(values).save(artifacts.RAW / path)
    rows["image_id"] = [sha256(artifacts.RAW / path) for path in rows["path"]]
    write_table(artifacts.rows("test"), rows)
    # The rule of params.yaml is high_byte, so these pictures are black for the challenger.
    np.save(artifacts.images("test"), np.zeros((IMAGES, SIZE, SIZE, 3), np.uint8))
    statistics = read_tree(artifacts.STATISTICS)
    statistics["pixels"]["test"] = sha256(artifacts.images("test"))
    write_tree(artifacts.STATISTICS, statistics)
    write_model(4.0, sixteen_bit={"window": {"low": 0, "high": 255}})
    promote("digits", str(register_as_it_is(params, 2, SIZE)), "with a window", "Ann")
    write_model(5.0)
    verdict = run(params)
    accuracy = verdict["comparison"][0]  # type: ignore[index]
    assert (accuracy["metric"], accuracy["champion"]["value"]) == ("accuracy", 1.0)
    assert accuracy["challenger"]["value"] == 0.5


def register_as_it_is(params: Params, classes: int, size: int) -> int:
    """Register the model file without judging it, as from an older state of the data."""
    from components.registry.versions import register_version
    from components.tracking.runs import adopt_model

    example = np.zeros((1, size, size, 3), np.uint8)
    run_id = adopt_model(sha256(artifacts.MODEL), ORIGIN)
    return register_version("digits", artifacts.MODEL, run_id, example, classes, {})


# Keras warns of a softmax over one class, which is what this champion has.
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1:UserWarning")
def test_a_champion_without_a_class_of_today_gets_nothing_right_there(
    workspace: Path, params: Params
) -> None:
    write_model(5.0)
    today = artifacts.MODEL.read_bytes()
    write_model(4.0, ("bright",))
    promote("digits", str(register_as_it_is(params, 1, SIZE)), "knew one class", "Ann")
    artifacts.MODEL.write_bytes(today)
    verdict = run(params)
    recalls = {row["class_name"]: row["champion"]["value"] for row in verdict["comparison"]}  # type: ignore[attr-defined]
    assert (recalls["bright"], recalls["dark"]) == (1.0, 0.0)
    assert verdict["decision"] == "promote"


def test_a_champion_that_cannot_be_loaded_is_said_and_nothing_is_promoted(
    workspace: Path, params: Params
) -> None:
    write_model(4.0)
    run(params)
    promote("digits", "1", "first", "Ann")
    shutil.rmtree(".fovea")
    uri = client().get_model_version_download_uri("digits", "1")
    (Path(uri) / "data/model.keras").write_bytes(b"rubbish")
    write_model(5.0)
    verdict = run(params, "auto")
    assert verdict["decision"] == "hold"
    assert verdict["reasons"] == ["the champion, version 1, cannot be loaded: nothing is compared"]
    assert reigning() == 1
