"""KERAS_BACKEND and threads: what is refused, and what equal trainings have in common."""

from pathlib import Path

import numpy as np
import pytest

from components.errors import UserError
from components.model import backend
from components.model.classifier import add_temperature, build_classifier, predict
from components.model.model_file import read_classifier, write_classifier
from components.params.reader import Params
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
def on_jax(params: Params, tiny_backbone: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models that were trained on JAX, and one that was made on TensorFlow."""
    folder = tmp_path_factory.mktemp("jax")
    made = add_temperature(build_classifier(params.model, ("a", "b", "c"), 8, "squash"), 1.7)
    write_classifier(folder / "given.keras", made)
    mixed = {"train.mixup": 0.4, "train.cutmix": 1.0}
    assert train_alone(folder, mixed, KERAS_BACKEND="jax") == "jax [] 1"
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fresh", "warm", "given"])
def test_a_model_of_one_backend_gives_the_same_probabilities_on_the_other(
    on_jax: Path, name: str
) -> None:
    there = np.load(on_jax / f"{name}.npy")
    here = predict(read_classifier(on_jax / f"{name}.keras"), tiny_data().val.inputs)
    np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-6)
