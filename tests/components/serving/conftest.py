"""A classifier with random weights as a file, and a version of it in a real MLflow store."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.model.backend import load_keras
from components.model.classifier import Classifier, build_classifier
from components.model.model_file import write_classifier
from components.params.reader import Params
from components.registry.versions import register_version
from components.serving import Model, load
from components.tracking.runs import start_run
from tests.components.origins import ORIGIN

NAMES = ("cat", "dög", "<b>")
SIZE = 16


@pytest.fixture(scope="module")
def classifier(params: Params, tiny_backbone: None) -> Classifier:
    load_keras()
    import keras

    keras.utils.set_random_seed(3)
    built = build_classifier(params.model, NAMES, SIZE, "pad")
    # Random weights give nearly equal probabilities; these differ.
    built.model.get_layer("logits").set_weights(
        [50 * weights for weights in built.model.get_layer("logits").get_weights()]
    )
    return replace(built, decode=params.ingest.decode.pixel_rules())


@pytest.fixture(scope="module")
def model_file(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("served") / "model.keras"
    write_classifier(file, classifier)
    return file


@pytest.fixture(scope="module")
def model(model_file: Path) -> Model:
    return load(model_file)


@pytest.fixture
def register(workspace: Path) -> Callable[..., int]:
    """Register a model file as version of `digits`; `params_yaml` is what its training logged."""

    def registered(file: Path, params_yaml: str = "", **tags: str) -> int:
        with start_run("train", ORIGIN, {"stage": "train"}) as run:
            if params_yaml:
                Path("params.yaml").write_text(params_yaml)
                run.log_files(Path("params.yaml"))
        example: Any = np.zeros((1, SIZE, SIZE, 3), np.uint8)
        return register_version("digits", file, run, example, len(NAMES), tags)

    return registered
