"""500 images of odd kinds, given as a test split: every way to a prediction gives the same."""

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.calibration.effect import Effect
from components.calibration.scores import calibration
from components.model.backend import load_keras, seeded
from components.model.classifier import Classifier, build_classifier, predict
from components.model.model_file import write_classifier
from components.params.evaluate import Corruptions
from components.params.reader import Params
from components.registry.versions import register_version
from components.serving import load
from components.tracking.connection import client
from components.tracking.runs import start_run
from components.training.precision import trained_in
from pipelines import artifacts, balance, evaluate
from pipelines.formats import read_table, read_tree, write_table, write_tree
from tests.benchmarks.serving_clients import fovea_command, mlflow_command, server
from tests.components.images.odd_images import KINDS, odd_images
from tests.components.origins import ORIGIN
from tests.pipelines.stages import run_until

IMAGES = {"train": 12, "val": 12, "test": 250}  # of each of the two classes
NAMES = ("cat", "dög")
TOLERANCE = 1e-5
VERSION = "models:/digits/1"
FOVEA = "from pipelines.commands.fovea import main; main()"

pytestmark = pytest.mark.slow  # two servers start, each with TensorFlow


@pytest.fixture
def workspace(folder_with_store: Path, params: Params, tiny_backbone: None) -> Path:
    """The folder as `train` leaves it. The images have splits of their own."""
    made = odd_images()
    for split, count in IMAGES.items():
        for name in NAMES:
            folder = artifacts.RAW / split / name
            folder.mkdir(parents=True)
            for _ in range(count):
                file, content = next(made)
                (folder / file).write_bytes(content)
    run_until("prepare", params)
    balance.run(params.balance)
    history = {"phase": ["finetune"], "epoch": [1], "kept": True, "loss": [0.7], "accuracy": [0.5]}
    columns = {"val_loss": 0.7, "val_accuracy": 0.5, "val_balanced_accuracy": 0.5}
    write_table(artifacts.HISTORY, pd.DataFrame(history).assign(**columns, learning_rate=0.01))
    measured = calibration(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    write_tree(artifacts.CALIBRATION, Effect(1.25, 2, measured, measured, ()).to_tree())
    return folder_with_store


@pytest.fixture
def classifier(workspace: Path, params: Params) -> Classifier:
    """A network that was trained with `train.precision: mixed`, and tells images apart."""
    load_keras()
    pixels = np.load(artifacts.images("train"))
    with seeded(3):
        built = build_classifier(params.model, NAMES, params.prepare.size, "squash")
        with trained_in("mixed", built):
            built.model.compile("sgd", "sparse_categorical_crossentropy")
            built.model.fit(pixels, np.arange(len(pixels)) % 2, verbose=0)
            mixed = np.asarray(built.model(pixels, training=False))
    exact = np.asarray(built.model(pixels, training=False))
    # In bfloat16, the network would round so much that the ways would differ.
    assert np.abs(mixed - exact).max() > 10 * TOLERANCE
    logits = built.model.get_layer("logits")
    kernel, bias = logits.get_weights()
    logits.set_weights([kernel / np.ptp(exact[:, 0]), bias])
    return replace(built, decode=params.ingest.decode.pixel_rules())


@pytest.fixture
def quick(params: Params) -> Any:
    none = Corruptions(kinds=(), images=10)
    return params.evaluate.model_copy(update={"resamples": 200, "explain": 0, "corruptions": none})


def ask(address: str, path: str, tree: object) -> Any:
    """Post JSON to a server, and return its answer."""
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}{path}", json.dumps(tree).encode(), kind)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        pytest.fail(f"{error.code}: {error.read().decode()}")


def test_evaluate_predict_and_both_servers_give_the_same_answers(
    workspace: Path, classifier: Classifier, quick: Any
) -> None:
    write_classifier(artifacts.MODEL, classifier)
    rows = read_table(artifacts.rows("test"))
    files = [artifacts.RAW / path for path in rows["path"]]
    assert len(files) == 500 and {file.name.split("-")[0] for file in files} >= set(KINDS)
    with start_run("train", ORIGIN, {"stage": "train"}) as run:
        pass
    side = classifier.size
    example = np.zeros((1, side, side, 3), np.uint8)
    register_version("digits", artifacts.MODEL, run, example, len(NAMES), {})
    client()  # sets the address of the store, also for the servers

    texts = [base64.b64encode(file.read_bytes()).decode() for file in files]
    commands = fovea_command(VERSION), mlflow_command(VERSION)
    with server(commands[0]) as (fovea, _), server(commands[1]) as (mlflow, _):
        evaluate.run(quick)
        Path("paths.txt").write_text("\n".join(map(str, files)))
        predicting = [sys.executable, "-c", FOVEA, "predict", "-", "--model", VERSION]
        with Path("paths.txt").open() as paths:
            subprocess.run(
                [*predicting, "--top", "2", "--output", "answers.parquet"],
                stdin=paths,
                check=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        served = [
            image
            for start in range(0, len(texts), 200)
            for image in ask(fovea, "/predict?top=2", {"images": texts[start : start + 200]})[
                "images"
            ]
        ]
        records = [{"image": text} for text in texts]
        scored = ask(mlflow, "/invocations", {"dataframe_records": records})

    # The pixels. All three ways call `Model.pixels`, or what it calls.
    prepared = np.load(artifacts.images("test"))
    model = load(VERSION)
    np.testing.assert_array_equal(np.stack([model.pixels(file) for file in files]), prepared)
    # A skew of the pixels would be seen in the probabilities, too.
    skewed = predict(classifier, prepared ^ 1)

    evaluated = read_table(artifacts.PREDICTIONS)
    assert evaluated["path"].tolist() == rows["path"].tolist()
    expected = np.stack(evaluated["probabilities"])
    table = pd.read_parquet("answers.parquet")
    assert table["path"].tolist() == [str(file) for file in files]
    assert np.median(np.abs(skewed - expected).max(axis=1)) > 10 * TOLERANCE
    assert 0.2 < np.mean(expected.argmax(1)) < 0.8

    def wide(images: Any) -> np.ndarray:
        names = classifier.class_names
        return np.array([[dict(image)[name] for name in names] for image in images])

    predicted = [
        [(row["label"], row["probability"]), (row["label_2"], row["probability_2"])]
        for row in table.to_dict("records")
    ]
    both = [[(one["label"], one["probability"]) for one in image["top"]] for image in served]
    rows_of_mlflow = scored["predictions"]
    answers = {
        "fovea predict": (table["label"].tolist(), wide(predicted)),
        "fovea serve": ([image["label"] for image in served], wide(both)),
        "mlflow models serve": (
            [row["label"] for row in rows_of_mlflow],
            wide(row["probabilities"].items() for row in rows_of_mlflow),
        ),
    }
    for way, (labels, shares) in answers.items():
        print(way, np.abs(shares - expected).max())
        assert labels == evaluated["predicted"].tolist(), way
        np.testing.assert_allclose(shares, expected, rtol=0, atol=TOLERANCE, err_msg=way)
    assert read_tree(artifacts.STATISTICS)["counts"]["test"] == dict.fromkeys(NAMES, 250)
