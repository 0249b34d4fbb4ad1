"""What a backbone refuses, and what it makes of pixels."""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from components.errors import UserError
from components.model.backbones import (
    APPLICATIONS,
    build_backbone,
    check_backbone,
    scaled,
)


def test_an_unknown_backbone_names_the_choices(params):
    model = params.model.model_copy(update={"backbone": "resnet51"})
    with pytest.raises(UserError, match=r"one of compact, mobilenet.*Received: resnet51"):
        check_backbone(model, 224)


def test_a_size_below_what_the_backbone_takes_is_refused(params):
    model = params.model.model_copy(update={"backbone": "xception", "width": 1.0})
    with pytest.raises(UserError, match=r"71 pixels or more.*Received: 64"):
        check_backbone(model, 64)


def test_a_width_without_imagenet_weights_is_refused(params):
    update = {"backbone": "mobilenet_v2", "width": 0.4, "weights": "imagenet"}
    with pytest.raises(UserError, match=r"must be one of 0\.35, 0\.5.*Received: 0\.4"):
        check_backbone(params.model.model_copy(update=update), 224)


def test_compact_has_no_imagenet_weights(params):
    with pytest.raises(UserError, match="compact has no ImageNet weights"):
        check_backbone(params.model.model_copy(update={"weights": "imagenet"}), 32)


def test_missing_imagenet_weights_name_the_file_looked_for(tmp_path):
    # In a process of its own, since Keras reads KERAS_HOME once, and with a proxy that is closed,
    # since a machine with a network would download the file.
    program = """
from components.model.backbones import check_imagenet
from components.params.model import Model
model = Model(backbone="mobilenet", width=0.5, weights="imagenet", dropout=0.0)
check_imagenet(model, 224)
"""
    closed = {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | closed, capture_output=True, text=True
    )
    assert "UserError: the ImageNet weights of MobileNet are not in Keras' cache" in run.stderr
    file = tmp_path / "models" / "mobilenet_5_0_224_tf_no_top.h5"
    assert f"Looked for: {file}" in run.stderr


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121", "resnet50"])
def test_pixels_are_scaled_as_the_network_was_trained(name):
    import keras

    package = "resnet" if name == "resnet50" else name.removesuffix("121")
    theirs = importlib.import_module(f"keras.applications.{package}").preprocess_input
    pixels = np.random.default_rng(1).integers(0, 256, (2, 5, 5, 3), np.uint8)
    images = keras.Input((5, 5, 3), dtype="uint8")
    ours = keras.Model(images, scaled(images, APPLICATIONS[name].pixels))
    expected = theirs(pixels.astype(np.float32))
    np.testing.assert_allclose(ours.predict_on_batch(pixels), expected, atol=1e-4)


def test_compact_gives_one_feature_vector_per_image(params):
    backbone = build_backbone(params.model, 16)
    features = backbone.predict_on_batch(np.zeros((3, 16, 16, 3), np.uint8))
    assert features.shape == (3, 48)
    assert np.isfinite(features).all()


def test_wider_means_more_channels(params):
    double = params.model.model_copy(update={"width": 2.0})
    assert build_backbone(double, 16).output.shape[-1] == 192


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(APPLICATIONS))
def test_every_backbone_builds_and_maps_pixels_to_features(name, params):
    import keras

    keras.backend.clear_session()
    size = max(APPLICATIONS[name].min_size, 32)
    model = params.model.model_copy(update={"backbone": name, "width": 1.0})
    backbone = build_backbone(model, size)
    assert np.isfinite(backbone.predict_on_batch(np.zeros((1, size, size, 3), np.uint8))).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(APPLICATIONS))
def test_every_backbone_asks_for_imagenet_weights_that_keras_knows(name, params, monkeypatch):
    import keras
    from keras.src.utils import file_utils

    asked = {}

    def get_file(fname, origin, file_hash=None, **_):
        asked[fname] = file_hash
        raise Exception(f"URL fetch failure on {origin}: None -- no network")

    application = APPLICATIONS[name]
    monkeypatch.setattr(file_utils, "get_file", get_file)
    keras.backend.clear_session()
    update = {"backbone": name, "width": 1.0, "weights": "imagenet"}
    with pytest.raises(UserError, match="Looked for: ") as refused:
        build_backbone(params.model.model_copy(update=update), max(application.min_size, 32))
    [(file, file_hash)] = asked.items()
    assert str(refused.value).endswith(f"models/{file}")
    # Keras has a hash for every file but those of its MobileNets, which its documentation lists.
    assert file_hash or file.startswith("mobilenet")
