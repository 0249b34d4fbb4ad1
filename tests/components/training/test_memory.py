"""What a step of training needs, and what the machine has."""

from pathlib import Path

import pytest

from components.model.backend import load_keras
from components.training import memory
from components.training.memory import memory_bytes, output_bytes, require_memory


@pytest.fixture
def network():
    """A network whose layers have outputs of 4 × 4 × 2, 32, 3 and 3 numbers."""
    load_keras()
    import keras

    layers = keras.layers
    convolution = layers.Conv2D(2, 3, padding="same")
    flat = [layers.Flatten(), layers.Dense(3), layers.ReLU()]
    return keras.Sequential([keras.Input((4, 4, 3)), convolution, *flat])


def test_the_outputs_of_all_layers_are_counted_from_the_first_that_is_trained(network) -> None:
    assert output_bytes(network, 10) == 10 * 4 * (32 + 32 + 3 + 3)
    network.layers[0].trainable = False
    assert output_bytes(network, 10) == 10 * 4 * (3 + 3)
    network.trainable = False
    assert output_bytes(network, 10) == 0


def test_a_batch_that_the_memory_cannot_hold_is_refused_on_a_cpu(network, monkeypatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 1400)  # half of what 10 images need
    require_memory(network, 10)
    with pytest.raises(MemoryError):
        require_memory(network, 11)
    monkeypatch.setattr(memory, "gpu_names", lambda: ["H100"])  # which answers for itself
    require_memory(network, 11)


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch) -> None:
    limits = (tmp_path / "memory.max", tmp_path / "gone")
    monkeypatch.setattr(memory, "LIMITS", limits)
    of_machine = memory_bytes()
    assert of_machine > 1 << 20
    limits[0].write_text("max\n")
    assert memory_bytes() == of_machine
    limits[0].write_text("1048576\n")
    assert memory_bytes() == 1 << 20
