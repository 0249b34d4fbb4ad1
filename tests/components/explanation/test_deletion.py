"""Masking what the map marks costs more than masking at random, with trained classifiers."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from components.explanation import deletion
from components.explanation.deletion import deletion_test, mask
from components.explanation.grad_cam import GradCam
from components.images.decoder import decode, resize
from components.model.backend import load_keras
from components.params.hyperparameters import Hyperparameters
from components.training.training import train_classifier
from components.training_set.examples import Balance, Data, Examples

# The files that use the fixture `learned` run in one process, so that it is trained once.
pytestmark = pytest.mark.xdist_group("explanation")
SHARE = 0.2
NAMES = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
TRAIN, VAL, TEST = 40, 10, 15  # images of each class


def test_masking_the_marked_pixels_of_digits_costs_more_than_masking_at_random(learned):
    found = deletion_test(learned.classifier, learned.test.inputs, SHARE, seed=1)
    assert (found.images, found.share) == (len(learned.test), SHARE)
    assert found.difference.low > 0
    assert found.marked.value == pytest.approx(found.random.value + found.difference.value)
    assert found.marked.value > 1.5 * found.random.value > 0
    for mean in (found.marked, found.random, found.difference):
        assert mean.low < mean.value < mean.high


def test_equal_seeds_mask_the_same_random_places(learned):
    first, again, other = (
        deletion_test(learned.classifier, learned.test.inputs[:8], SHARE, seed)
        for seed in (1, 1, 2)
    )
    assert again == first
    assert other.random != first.random
    # Where a map is 0, its pixels are chosen at random, too; most pixels are not.
    assert other.marked.value == pytest.approx(first.marked.value, abs=0.05)


def test_a_map_of_the_rest_of_the_image_fails_the_test(learned, monkeypatch):
    """The test must be able to fail: here the maps mark what says least."""
    right = GradCam.maps
    monkeypatch.setattr(GradCam, "maps", lambda self, *arguments: 1 - right(self, *arguments))
    found = deletion_test(learned.classifier, learned.test.inputs, SHARE, seed=1)
    assert found.difference.high < 0


def test_as_many_pixels_get_the_mean_colour_of_their_image():
    images = np.random.default_rng(1).integers(0, 256, (2, 4, 4, 3), np.uint8)
    values = np.random.default_rng(2).permutation(32).reshape(2, 4, 4)
    masked = mask(images, values, 0.25)
    for image, before, marks in zip(masked, images, values, strict=True):
        chosen = marks >= np.sort(marks.ravel())[-4]
        colour = before.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
        assert (image[chosen] == colour).all()
        assert (image[~chosen] == before[~chosen]).all()


def test_parts_of_the_images_give_the_same_as_all_at_once(learned, monkeypatch):
    images = learned.test.inputs[:20]
    whole = deletion_test(learned.classifier, images, SHARE, seed=1)
    monkeypatch.setattr(deletion, "PREDICTION_BATCH", 8)
    parts = deletion_test(learned.classifier, images, SHARE, seed=1)
    assert parts.images == whole.images
    assert parts.marked.value == pytest.approx(whole.marked.value, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "width"), [("mobilenet_v2", 0.35), ("mobilenet", 0.25)])
def test_with_imagenet_weights_it_holds_for_photographs(backbone, width, shared, params, tmp_path):
    """A head on frozen features of 240 photographs of rubbish; 90 others are masked."""
    if os.environ.get("KERAS_HOME") != str(shared / "keras"):
        run_with_weights(shared / "keras", f"{backbone}-{width}")
        return
    load_keras()
    images, labels = photographs(shared / "datasets/trashnet", params)
    parts = [
        Examples(images[rows], labels[rows])
        for rows in np.split(np.arange(len(labels)), np.cumsum([TRAIN, VAL]) * len(NAMES))
    ]
    train, val, test = parts
    even = np.full(len(NAMES), 1 / len(NAMES), np.float32)
    balance = Balance(np.full(len(NAMES), TRAIN), np.ones(len(NAMES), np.float32), np.log(even))
    data = Data(train, val, balance, NAMES, 224, "squash", backbone, "high_byte")
    written = Hyperparameters(model=params.model, train=params.train)
    changed = written.with_overrides(
        {
            "model.backbone": backbone,
            "model.width": width,
            "model.weights": "imagenet",
            "train.finetune.epochs": 0,
        }
    )
    classifier = train_classifier(changed, data, None, lambda row: None, tmp_path).classifier
    found = deletion_test(classifier, test.inputs, SHARE, seed=1)
    print(f"{backbone}: {found}")
    assert found.difference.low > 0


def run_with_weights(keras_home, case):
    """Run the test in a process of its own, since Keras reads KERAS_HOME once."""
    test = test_with_imagenet_weights_it_holds_for_photographs.__name__
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-n", "0", "-p", "no:cacheprovider",
         "-m", "slow", f"{__file__}::{test}[{case}]"],
        env=os.environ | {"KERAS_HOME": str(keras_home)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    print(done.stdout)
    assert "1 passed" in done.stdout, done.stdout


def photographs(folder, params):
    """Return images and labels, first those of train, then val, then test, in equal numbers."""
    if not folder.is_dir():
        pytest.skip("needs TrashNet in ../shared/datasets, which is not there")
    images, labels = [], []
    paths = [sorted((folder / name).glob("*.jpg"))[: TRAIN + VAL + TEST] for name in NAMES]
    for number in range(TRAIN + VAL + TEST):
        for label, files in enumerate(paths):
            pixels = decode(files[number].read_bytes(), params.ingest.decode).pixels
            images.append(resize(pixels, 224, "squash"))
            labels.append(label)
    return np.stack(images), np.array(labels, np.int64)


def test_the_interval_of_a_mean_is_that_of_scipy():
    values = np.random.default_rng(3).normal(0.2, 0.1, 12).astype(np.float32)
    found = deletion._mean(values, 0.9)
    expected = ttest_1samp(values, 0).confidence_interval(0.9)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
