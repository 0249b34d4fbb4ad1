"""What a backbone refuses, and what it makes of pixels."""

import importlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from components.errors import UserError
from components.model.applications import APPLICATIONS
from components.model.backbones import build_backbone, check_backbone, scale_pixels
from components.model.backend import load_keras
from components.params.prepare import Prepare
from tests.families import TRIED

FILE = "mobilenet_2_5_224_tf_no_top.h5"
BUILD = """
import logging, sys
from components.model.backbones import build_backbone
from components.params.model import UNUSED_HEAD, Model
logging.basicConfig(level=logging.INFO, format="%(message)s")
backbone, width = sys.argv[1:]
model = Model(backbone=backbone, width=float(width), weights="imagenet", **UNUSED_HEAD)
build_backbone(model, 64)
"""
SAVE = """
import sys, h5py, keras
from keras.src.legacy.saving import legacy_h5_format
alpha, size = float(sys.argv[2]), (64, 64, 3)
network = keras.applications.MobileNet(size, alpha, include_top=False, pooling="avg", weights=None)
with h5py.File(sys.argv[1], "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, network)
"""


def run_python(program, *arguments, keras_home):
    """Run in a process of its own, since Keras reads KERAS_HOME once, and without a network."""
    closed = {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(keras_home)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, env=os.environ | closed, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("backbone", "near"),
    [
        ("resnet51", "the nearest names are resnet50, resnet152 and resnet101"),
        ("MobileNet-V2", "write mobilenet_v2"),
        ("", "choose one of the list"),
    ],
)
def test_an_unknown_backbone_gets_the_nearest_names(params, backbone, near):
    model = params.model.model_copy(update={"backbone": backbone})
    with pytest.raises(UserError) as raised:
        check_backbone(model, 224)
    assert str(raised.value) == (
        f"model.backbone: there is no such backbone; {near}; `fovea backbones` lists all. "
        f"Received: '{backbone}'"
    )


def test_a_size_below_what_the_backbone_takes_is_refused(params):
    model = params.model.model_copy(update={"backbone": "xception", "width": 1.0})
    with pytest.raises(UserError, match=r"at least 71 pixels.*Received: 64"):
        check_backbone(model, 64)


def test_a_width_without_imagenet_weights_is_refused(params):
    update = {"backbone": "mobilenet_v2", "width": 0.4, "weights": "imagenet"}
    with pytest.raises(UserError, match=r"must be one of 0\.35, 0\.5.*Received: 0\.4"):
        check_backbone(params.model.model_copy(update=update), 224)


def test_a_width_that_leaves_a_layer_without_channels_is_refused(params):
    update = {"backbone": "mobilenet", "width": 0.03, "weights": "none"}
    with pytest.raises(UserError, match=r"must be at least 0\.03125\. Received: 0\.03"):
        check_backbone(params.model.model_copy(update=update), 224)


def test_a_message_about_label_errors_names_their_keys(params):
    update = {"backbone": "compact", "weights": "imagenet"}
    model = params.validate_.label_errors.model_copy(update=update).model()
    with pytest.raises(UserError, match=r"^validate\.label_errors: .* write `backbone: none`, or"):
        check_backbone(model, 32)
    with pytest.raises(UserError, match=r"raise validate\.label_errors\.size\. Received: 8"):
        check_backbone(model.model_copy(update={"backbone": "xception", "width": 1.0}), 8)


def test_labels_are_judged_at_the_size_of_the_network_unless_another_is_given(params):
    judged = params.validate_.label_errors
    assert judged.size == 224
    assert judged.images(params.prepare) == Prepare(size=224, resize="squash")
    cropped = params.prepare.model_copy(update={"size": 64, "resize": "crop"})
    assert judged.model_copy(update={"size": "prepare"}).images(cropped) is cropped


def test_compact_has_no_imagenet_weights(params):
    with pytest.raises(UserError, match="compact has no ImageNet weights"):
        check_backbone(params.model.model_copy(update={"weights": "imagenet"}), 32)


def test_missing_imagenet_weights_name_the_file_looked_for(tmp_path):
    run = run_python(BUILD, "mobilenet", 0.5, keras_home=tmp_path)
    assert "UserError: the ImageNet weights of MobileNet are not in Keras' cache" in run.stderr
    file = tmp_path / "models" / "mobilenet_5_0_224_tf_no_top.h5"
    assert f"Looked for: {file}" in run.stderr
    assert "or write `weights: none` in the section model." in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "width"), [("mobilenet", 0.25), ("mobilenet_v2", 0.35)])
def test_published_imagenet_weights_have_the_content_that_the_list_names(backbone, width, shared):
    built = run_python(BUILD, backbone, width, keras_home=shared / "keras")
    assert built.returncode == 0, built.stderr
    assert "not checked" not in built.stderr
    assert "UserWarning" not in built.stderr  # Keras has no weights for this size of images.


@pytest.mark.slow
def test_imagenet_weights_of_other_content_are_refused_by_both_sha256(tmp_path):
    (tmp_path / "models").mkdir()
    saved = run_python(SAVE, tmp_path / "models" / FILE, 0.25, keras_home=tmp_path)
    assert saved.returncode == 0, saved.stderr
    refused = run_python(BUILD, "mobilenet", 0.25, keras_home=tmp_path)
    (expected,) = APPLICATIONS["mobilenet"].imagenet.values()
    sentence = refused.stderr.splitlines()[-1]
    assert "UserError: the ImageNet weights of mobilenet of width 0.25" in sentence
    assert re.search(rf"Received: sha256 [0-9a-f]{{64}} instead of {expected}$", sentence)
    assert str(tmp_path / "models") in sentence


@pytest.mark.slow
def test_imagenet_weights_without_a_known_sha256_are_logged_with_theirs(tmp_path):
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "mobilenet_5_0_224_tf_no_top.h5"
    saved = run_python(SAVE, file, 0.5, keras_home=tmp_path)
    assert saved.returncode == 0, saved.stderr
    taken = run_python(BUILD, "mobilenet", 0.5, keras_home=tmp_path)
    assert taken.returncode == 0
    assert re.search(r"width 0\.5 for 224 px are not checked.*is [0-9a-f]{64}$", taken.stderr, re.M)


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121", "resnet50"])
def test_pixels_are_scaled_as_the_network_was_trained(name):
    load_keras()
    import keras

    package = "resnet" if name == "resnet50" else name.removesuffix("121")
    theirs = importlib.import_module(f"keras.applications.{package}").preprocess_input
    pixels = np.random.default_rng(1).integers(0, 256, (2, 5, 5, 3), np.uint8)
    images = keras.Input((5, 5, 3), dtype="uint8")
    ours = keras.Model(images, scale_pixels(images, APPLICATIONS[name].pixels))
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
@pytest.mark.parametrize("name", [name for name in TRIED if name in APPLICATIONS])
def test_backbones_ask_for_imagenet_weights_that_keras_knows(name, params, monkeypatch):
    load_keras()
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
    without_weights = keras.StatelessScope(initialize_variables=False)
    with without_weights, pytest.raises(UserError, match="Looked for: ") as refused:
        build_backbone(params.model.model_copy(update=update), max(application.min_size, 32))
    [(file, file_hash)] = asked.items()
    assert str(refused.value).endswith(f"models/{file}")
    # Keras has a hash for every file but those of its two oldest MobileNets, of which we have ours.
    assert bool(file_hash) == (application.imagenet is None)
