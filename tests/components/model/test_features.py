from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.model import arithmetic, backend, features
from components.model.features import FrozenBackbone, Part
from components.training_set.examples import Examples

Seen = list[int]  # the sizes of the batches that the backbone computed


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Replace the network by one whose feature is the mean of the pixels."""
    sizes: Seen = []

    def mean(_: Any, images: np.ndarray, network: None) -> np.ndarray:
        sizes.append(len(images))
        return images.reshape(len(images), -1).mean(axis=1, keepdims=True).astype(np.float32)

    monkeypatch.setattr(features, "outputs", mean)
    monkeypatch.setattr(features, "frozen_network", lambda backbone: None)
    monkeypatch.setattr(features, "_key", lambda backbone: backbone.name)
    return sizes


def classifier(name: str) -> Any:
    return SimpleNamespace(backbone=SimpleNamespace(name=name, output_shape=(None, 1)))


def examples(*brightness: int) -> Examples:
    images = np.zeros((len(brightness), 2, 2, 3), np.uint8) + np.reshape(brightness, (-1, 1, 1, 1))
    return Examples(images.astype(np.uint8), np.arange(len(brightness)))


def frozen_features(classifier: Any, images: Examples, store: Path) -> Examples:
    return FrozenBackbone(classifier, store).features(images)


@dataclass(frozen=True)
class Brighter:
    """Views that are brighter by 100 for each view."""

    count: int
    name: str = "brighter"

    def key(self, view: int) -> str:
        return f"{self.name}{view}"

    @contextmanager
    def batches(
        self, examples: Examples, parts: Sequence[Part]
    ) -> Iterator[Iterator[np.ndarray[Any, Any]]]:
        yield (examples.inputs[rows] + np.uint8(100 * view) for view, rows in parts)


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

    def stopped(*arguments: Any) -> np.ndarray:
        if len(seen) == 2:
            raise KeyboardInterrupt
        return computed(*arguments)

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


def test_if_all_features_are_stored_no_progress_is_reported(
    seen: Seen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    frozen_features(classifier("a"), examples(1, 2), tmp_path)
    assert "features of 2 images" in caplog.text
    caplog.clear()
    frozen_features(classifier("a"), examples(1, 2), tmp_path)
    assert caplog.text == ""


def test_train_and_val_are_served_by_one_reading_of_the_store(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen_features(classifier("a"), examples(1, 2), tmp_path)
    read, folders = features.read_features, []
    monkeypatch.setattr(
        features, "read_features", lambda folder: folders.append(folder) or read(folder)
    )
    frozen = FrozenBackbone(classifier("a"), tmp_path)
    assert frozen.features(examples(1, 3)).inputs.tolist() == [[1.0], [3.0]]
    assert frozen.features(examples(3, 2)).inputs.tolist() == [[3.0], [2.0]]
    assert seen == [2, 1]
    assert folders == [tmp_path / "a"]


def test_views_follow_the_images_as_they_are_and_only_missing_ones_are_computed(
    seen: Seen, tmp_path: Path
) -> None:
    def with_views(count: int, *brightness: int, name: str = "brighter") -> list[float]:
        seen.clear()
        views, images = Brighter(count, name), examples(*brightness)
        found = FrozenBackbone(classifier("a"), tmp_path).features(images, views)
        np.testing.assert_array_equal(found.labels, np.tile(images.labels, count + 1))
        return [float(value) for value in found.inputs.ravel()]

    frozen_features(classifier("a"), examples(2), tmp_path)
    assert with_views(1, 1, 2, 1) == [1, 2, 1, 101, 102, 101]
    assert seen == [1, 2]
    assert with_views(2, 1, 2) == [1, 2, 101, 102, 201, 202]
    assert seen == [2]
    assert with_views(2, 3, 1, 2) == [3, 1, 2, 103, 101, 102, 203, 201, 202]
    assert seen == [1, 1, 1]
    assert with_views(2, 3, 1, 2) == [3, 1, 2, 103, 101, 102, 203, 201, 202]
    assert seen == []
    assert with_views(1, 1, name="another policy") == [1, 101]
    assert seen == [1]


def test_a_damaged_file_of_a_view_costs_only_this_view(seen: Seen, tmp_path: Path) -> None:
    def found() -> list[list[float]]:
        frozen = FrozenBackbone(classifier("a"), tmp_path)
        return frozen.features(examples(1, 2), Brighter(2)).inputs.tolist()

    before = found()
    (file,) = (tmp_path / "a-brighter2").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    seen.clear()
    assert found() == before
    assert seen == [2]


def test_of_a_store_that_is_too_large_no_view_in_use_is_removed_first(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen_features(classifier("old"), examples(1), tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
    remove = features.remove_oldest
    monkeypatch.setattr(
        features, "remove_oldest", lambda store, keep: remove(store, keep, 4 * size)
    )
    frozen = FrozenBackbone(classifier("a"), tmp_path)
    frozen.features(examples(1), Brighter(2))
    frozen.features(examples(2))
    kept = ["a", "a-brighter1", "a-brighter2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
