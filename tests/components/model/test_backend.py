"""KERAS_BACKEND and threads: what is refused, and what equal trainings have in common."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from components.errors import UserError
from components.model import backend
from components.model.classifier import predict
from components.model.model_file import read_classifier
from tests.components.training.alone import train_alone
from tests.components.training.conftest import tiny_data


@pytest.mark.parametrize("name", ["torch", "Jax", "nonsense"])
def test_an_unknown_backend_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(UserError, match=rf"must be tensorflow or jax\. Received: {name}$"):
        backend.backend()


def test_a_backend_that_is_not_installed_is_answered_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'fovea\[jax\]'.*KERAS_BACKEND=jax"):
        backend.backend()


def test_threads_cannot_change_after_the_start() -> None:
    backend.load_keras()
    backend.load_keras(backend.THREADS)
    with pytest.raises(RuntimeError, match="has 4 threads, 5 are not possible"):
        backend.load_keras(5)


@pytest.fixture(scope="module")
def trained_on(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that trains once on a backend, with two threads, and returns the folder."""

    @cache
    def trained_on(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        assert train_alone(folder, {"train.threads": 2}, KERAS_BACKEND=name) == f"{name} [] 1"
        return folder

    return trained_on


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fresh", "warm"])
def test_a_model_trained_on_jax_gives_the_same_probabilities_on_tensorflow(
    trained_on: Callable[[str], Path], name: str
) -> None:
    there = np.load(trained_on("jax") / f"{name}.npy")
    here = predict(read_classifier(trained_on("jax") / f"{name}.keras"), tiny_data().val.inputs)
    np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorflow", "jax"])
def test_one_core_and_two_train_the_same_bytes_with_the_same_threads(
    trained_on: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    """Without `train.threads` a backend takes the number of cores, which other weights follow."""
    everywhere = os.sched_getaffinity(0)
    if len(everywhere) < 2:
        pytest.skip("needs two cores")
    on_all = (trained_on(name) / "warm.keras").read_bytes()
    try:
        os.sched_setaffinity(0, {min(everywhere)})
        train_alone(tmp_path, {"train.threads": 2}, KERAS_BACKEND=name)
    finally:
        os.sched_setaffinity(0, everywhere)
    assert (tmp_path / "warm.keras").read_bytes() == on_all


@pytest.mark.parametrize(
    ("text", "batch_size", "sentence"),
    [
        ("2", 32, r"from 1 to 1, because tensorflow has the devices .*Received: 2$"),
        ("0", 32, r"FOVEA_DEVICES must be `all` or a number .*Received: 0$"),
        ("two", 32, r"FOVEA_DEVICES must be `all` or a number .*Received: two$"),
    ],
)
def test_devices_that_are_not_there_are_refused(
    text: str, batch_size: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.load_keras()
    monkeypatch.setenv("FOVEA_DEVICES", text)
    with pytest.raises(UserError, match=sentence), backend.on_devices(batch_size, 1):
        pass


@pytest.mark.parametrize(("count", "images"), [("2", 31), ("3", 64)])
def test_devices_that_do_not_divide_a_batch_are_refused(
    count: str, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_devices", lambda: ["GPU:0", "GPU:1", "GPU:2"])
    monkeypatch.setenv("FOVEA_DEVICES", count)
    sentence = rf"must divide .*Received: {count} devices, {images} images$"
    batch = 30 if images == 64 else images
    with pytest.raises(UserError, match=sentence), backend.on_devices(batch, 1):
        pass


def test_tensorflow_refuses_to_accumulate_on_several_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend, "_devices", lambda: ["GPU:0", "GPU:1"])
    monkeypatch.setenv("FOVEA_DEVICES", "2")
    sentence = r"set KERAS_BACKEND=jax.*Received: train\.accumulate: 3, 2 devices$"
    with pytest.raises(UserError, match=sentence), backend.on_devices(32, 3):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "accumulate", "largest", "variables"),
    [
        ("jax", 2, 1e-5, {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}),
        ("tensorflow", 1, 0.05, {"CPU_DEVICES": "2"}),
    ],
)
def test_two_devices_train_nearly_the_weights_of_one(
    tmp_path: Path, name: str, accumulate: int, largest: float, variables: dict[str, str]
) -> None:
    """The phase `head`, which is in `warm`, is one compiled call only on one device."""
    overrides = {"train.accumulate": accumulate}
    for count in ("1", "2"):
        (tmp_path / count).mkdir()
        variables = {**variables, "KERAS_BACKEND": name, "FOVEA_DEVICES": count}
        printed = train_alone(tmp_path / count, overrides, **variables)
        assert printed == f"{name} [] {count}"
    for model in ("fresh", "warm"):
        one, two = (np.load(tmp_path / count / f"{model}.npy") for count in ("1", "2"))
        np.testing.assert_allclose(two, one, atol=largest)
