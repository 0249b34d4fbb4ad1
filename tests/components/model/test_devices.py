"""FOVEA_DEVICES: what is refused, and that several devices train the weights of one."""

from pathlib import Path

import numpy as np
import pytest

from components.errors import UserError
from components.model import backend, devices
from tests.components.training.alone import train_alone


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
    with pytest.raises(UserError, match=sentence), devices.on_devices(batch_size, 1):
        pass


@pytest.mark.parametrize(("count", "images"), [("2", 31), ("3", 64)])
def test_devices_that_do_not_divide_a_batch_are_refused(
    count: str, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_devices", lambda: ["GPU:0", "GPU:1", "GPU:2"])
    monkeypatch.setenv("FOVEA_DEVICES", count)
    sentence = rf"must divide .*Received: {count} devices, {images} images$"
    batch = 30 if images == 64 else images
    with pytest.raises(UserError, match=sentence), devices.on_devices(batch, 1):
        pass


def test_tensorflow_refuses_to_accumulate_on_several_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "_devices", lambda: ["GPU:0", "GPU:1"])
    monkeypatch.setenv("FOVEA_DEVICES", "2")
    sentence = r"set KERAS_BACKEND=jax.*Received: train\.accumulate: 3, 2 devices$"
    with pytest.raises(UserError, match=sentence), devices.on_devices(32, 3):
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
    overrides = {"train.accumulate": accumulate, "train.mixup": 0.4}
    for count in ("1", "2"):
        (tmp_path / count).mkdir()
        variables = {**variables, "KERAS_BACKEND": name, "FOVEA_DEVICES": count}
        printed = train_alone(tmp_path / count, overrides, **variables)
        assert printed == f"{name} [] {count}"
    for model in ("fresh", "warm"):
        one, two = (np.load(tmp_path / count / f"{model}.npy") for count in ("1", "2"))
        np.testing.assert_allclose(two, one, atol=largest)
