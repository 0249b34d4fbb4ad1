"""Explanations for the report: how many, among which training images, and what prevents them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from components.evaluation import explained as room
from components.evaluation.explained import amounts, explain
from components.explanation.mistakes import Amounts
from components.model.classifier import build_classifier
from tests.components.explanation.without_maps import vectors_only

NAMES = ("glass", "metal")
LABELS = np.array([0, 0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.1, 0.9]], np.float32)


@pytest.fixture(scope="module")
def classifier(params, tiny_backbone):
    return build_classifier(params.model, NAMES, 16, "squash")


@pytest.fixture
def train():
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), np.uint8)
    rows = pd.DataFrame({"path": [f"{number}.png" for number in range(10)]})
    return images, rows.assign(label=["glass", "metal"] * 5)


def explained(classifier, train, store, params, probabilities=PROBABILITIES):
    images = None if train is None else train[0][:4]
    return explain(classifier, images, probabilities, LABELS, train, store, params.evaluate)


def test_each_part_has_at_most_as_many_mistakes_as_params_say(params):
    asked = params.evaluate.model_copy(update={"explain": 7, "mistakes": 3})
    assert amounts(asked) == Amounts(worst=3, weakest=7, pairs=4, of_pair=2, nearest=4)


def test_mistakes_are_explained_among_every_nth_training_image(
    classifier, train, tmp_path, params, monkeypatch, caplog
):
    monkeypatch.setattr(room, "MOST_COMPARED", 4)
    found = explained(classifier, train, tmp_path, params)
    assert found.paths == ("0.png", "3.png", "6.png", "9.png")
    assert found.training == 10
    assert [each.row for each in found.found.worst] == [1, 2]
    # The test images are the first training images, so image 1 is not among those compared.
    nearest = found.found.worst[1].nearest
    assert {near.label for near in nearest} <= set(NAMES)
    for near in nearest:
        np.testing.assert_array_equal(near.image, train[0][3 * near.row])
        assert near.label == NAMES[3 * near.row % 2]
    assert "explanations: 2 mistakes, compared with 4 training images" in caplog.text


def test_without_a_mistake_or_without_training_images_nothing_is_explained(
    classifier, train, tmp_path, params
):
    right = np.eye(2, dtype=np.float32)[LABELS]
    for found in (
        explained(classifier, train, tmp_path, params, right),
        explained(classifier, None, tmp_path, params),
    ):
        assert (found.found, found.reason) == (None, "")
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_explained_is_measured_all_the_same(
    classifier, train, tmp_path, params, caplog
):
    import keras

    images = keras.Input((16, 16, 3), dtype="uint8")
    foreign = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(images)))
    found = explained(replace(classifier, model=foreign), train, tmp_path, params)
    assert found.found is None
    assert "the layers `backbone` and `logits`" in found.reason
    assert f"no mistake is explained: {found.reason}" in caplog.text


def test_a_network_without_maps_is_noticed_before_its_features_are_computed(
    train, tmp_path, params, monkeypatch
):
    monkeypatch.setattr(room, "training_images", lambda *_: pytest.fail("features are computed"))
    found = explained(vectors_only(NAMES), train, tmp_path, params)
    assert "Grad-CAM needs a layer with maps" in found.reason
