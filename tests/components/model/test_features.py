from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.model import arithmetic, backend, features
from components.model.features import frozen_features
from components.training_set.examples import Examples

Seen = list[int]  # the sizes of the batches that the backbone computed


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Replace the network by one whose feature is the mean of the pixels."""
    sizes: Seen = []

    def mean(_: Any, images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return images.reshape(len(images), -1).mean(axis=1, keepdims=True).astype(np.float32)

    monkeypatch.setattr(features, "outputs", mean)
    monkeypatch.setattr(features, "_key", lambda backbone: backbone.name)
    return sizes


def classifier(name: str) -> Any:
    return SimpleNamespace(backbone=SimpleNamespace(name=name, output_shape=(None, 1)))


def examples(*brightness: int) -> Examples:
    images = np.zeros((len(brightness), 2, 2, 3), np.uint8) + np.reshape(brightness, (-1, 1, 1, 1))
    return Examples(images.astype(np.uint8), np.arange(len(brightness)))


def test_each_image_is_computed_once_for_each_backbone(seen: Seen, tmp_path: Path) -> None:
    first = frozen_features(classifier("a"), examples(1, 2, 1), tmp_path)
    assert first.inputs.tolist() == [[1.0], [2.0], [1.0]]
    assert first.labels.tolist() == [0, 1, 2]
    assert seen == [2]
    more = frozen_features(classifier("a"), examples(3, 1, 2), tmp_path)
    assert more.inputs.tolist() == [[3.0], [1.0], [2.0]]
    assert seen == [2, 1]
    frozen_features(classifier("b"), examples(1), tmp_path)
    assert seen == [2, 1, 1]


def test_what_is_computed_is_stored_before_the_end(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "ROWS", 2)
    monkeypatch.setattr(features, "PREDICTION_BATCH", 2)
    computed = features.outputs

    def stopped(network: Any, images: np.ndarray) -> np.ndarray:
        if len(seen) == 2:
            raise KeyboardInterrupt
        return computed(network, images)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(features, "outputs", stopped)
        frozen_features(classifier("a"), examples(1, 2, 3, 4, 5, 6), tmp_path)
    seen.clear()
    frozen_features(classifier("a"), examples(6, 5, 4, 3, 2, 1), tmp_path)
    assert seen == [2]


def test_under_other_conditions_the_features_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads, packages, processor and variables decide the last bits, as the weights do."""
    backend.load_keras()
    import keras

    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    keys = [features._key(network)]

    def changes(place: Any, name: str, value: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            keys.append(features._key(network))

    changes(backend, "_threads", 3)
    changes(arithmetic, "CPU_FACTS", tmp_path / "another processor")
    changes(arithmetic.metadata, "version", lambda package: f"{package} 99")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    keys.append(features._key(network))
    network.layers[-1].bias.assign([0.0, 1e-9])
    keys.append(features._key(network))
    assert len(set(keys)) == 6


def test_no_images_have_no_features(seen: Seen, tmp_path: Path) -> None:
    assert frozen_features(classifier("a"), examples(), tmp_path).inputs.shape == (0, 1)
