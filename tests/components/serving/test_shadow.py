"""A shadow is asked and compared, and delays or harms no answer."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from components.images.png_writer import encode_png
from components.model.classifier import Classifier
from components.model.model_file import write_classifier
from components.serving import Model, shadow
from components.serving.following import Follower
from components.serving.metrics import Metrics
from components.serving.shadow import Shadow
from tests.components.serving.conftest import SIZE


@pytest.fixture
def images() -> list[bytes]:
    pixels = np.random.default_rng(5).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)
    return [*map(encode_png, pixels), b"no image"]


@pytest.fixture
def other_file(classifier: Classifier, tmp_path: Path) -> Path:
    """The same network, which takes each class for the next one."""
    logits = classifier.model.get_layer("logits")
    before = logits.get_weights()
    logits.set_weights([np.roll(weights, 1, axis=-1) for weights in before])
    file = tmp_path / "other.keras"
    write_classifier(file, classifier)
    logits.set_weights(before)
    return file


class Answering:
    """Holds the model that answers; a test may put another one into its place."""

    def __init__(self, model: Model) -> None:
        self.current, self.on_swap = SimpleNamespace(model=model), []


def build_shadow(model: Model, file: Path, metrics: Metrics) -> Shadow:
    return Shadow(Answering(model), Follower(str(file), "--shadow"), metrics)  # type: ignore[arg-type]


def asked(file: Path, model: Model, images: list[bytes]) -> tuple[dict, Metrics]:
    metrics = Metrics()
    asks = build_shadow(model, file, metrics)
    for content, answer in zip(images, model.predict(images), strict=True):
        asks.ask(content, answer, model)
    asks._pool.shutdown(wait=True)
    summary = asks.summary()
    asks.close()
    return summary, metrics


def test_an_equal_model_says_the_same(model: Model, model_file: Path, images: list[bytes]) -> None:
    summary, metrics = asked(model_file, model, images)
    assert summary == {
        "version": None,
        "asked": 7,
        "same": 7,
        "dropped": 0,
        "mean_difference": pytest.approx(0, abs=1e-6),
        "most_frequent": [],
    }
    assert b'fovea_shadow_images_total{result="same"} 7.0' in metrics.text()


def test_another_model_is_seen_to_differ(model, other_file, images) -> None:
    summary, metrics = asked(other_file, model, images)
    assert (summary["asked"], summary["same"]) == (7, 1)  # both refuse what is no image
    names = model.class_names
    following = {name: names[(number + 1) % 3] for number, name in enumerate(names)}
    for pair in summary["most_frequent"]:
        assert pair["shadow"] == following[pair["answered"]]
    assert sum(pair["images"] for pair in summary["most_frequent"]) == 6
    answers, others = model.predict(images[:6]), model.predict(images[:6])
    shares = [
        abs(a.probability - b.probabilities[names[(names.index(a.label) - 1) % 3]])
        for a, b in zip(answers, others, strict=True)
    ]
    assert summary["mean_difference"] == pytest.approx(sum(shares) / 7, abs=1e-5)
    assert b'result="other"} 6.0' in metrics.text()


def test_what_the_shadow_has_no_time_for_is_dropped_and_counted(
    model: Model, model_file: Path, images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "PLACES", 2)
    asks, free = build_shadow(model, model_file, Metrics()), threading.Event()
    asks._pool.submit(free.wait, 10)
    answer = model.predict(images[:1])[0]
    for _ in range(5):
        asks.ask(images[0], answer, model)
    free.set()
    asks._pool.shutdown(wait=True)
    summary = asks.summary()
    assert (summary["asked"], summary["dropped"]) == (2, 3)
    asks.close()


def test_after_a_swap_only_answers_of_the_two_new_models_count(
    model: Model, model_file: Path, images: list[bytes]
) -> None:
    asks, free = build_shadow(model, model_file, Metrics()), threading.Event()
    answer = model.predict(images[:1])[0]
    asks.ask(images[0], answer, model)
    asks._pool.submit(free.wait, 10)
    asks.ask(images[0], answer, model)  # it waits until the model that answered is gone
    other = asks._answering.current = SimpleNamespace(model=replace(model))
    for hear in asks._answering.on_swap:
        hear(other.model)
    asks.ask(images[0], answer, other.model)
    free.set()
    asks._pool.shutdown(wait=True)
    assert asks.summary()["asked"] == 1
    asks.close()


def test_a_shadow_that_fails_is_said_and_frees_its_places(
    model: Model, model_file: Path, images: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    asks = build_shadow(model, model_file, Metrics())

    def broken(pixels):
        raise MemoryError("no room")

    object.__setattr__(asks.follower.current.model, "compute", broken)
    asks.ask(images[0], model.predict(images[:1])[0], model)
    asks._pool.shutdown(wait=True)
    assert "the shadow did not answer: no room" in caplog.text
    assert (asks._in_work, asks.summary()["asked"]) == (0, 0)
    asks.close()
