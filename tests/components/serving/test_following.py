"""A moved alias brings another model in; what is wrong with it leaves the old one answering."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.model.classifier import Classifier
from components.model.model_file import write_classifier
from components.registry.versions import DOWNLOADS
from components.serving import following
from components.serving.following import Follower
from components.tracking.connection import client

Register = Callable[..., int]


@pytest.fixture
def other_file(classifier: Classifier, tmp_path: Path) -> Path:
    """The same network with other weights."""
    file = tmp_path / "other.keras"
    logits = classifier.model.get_layer("logits")
    before = logits.get_weights()
    logits.set_weights([-weights for weights in before])
    write_classifier(file, classifier)
    logits.set_weights(before)
    return file


def move(number: int) -> None:
    client().set_registered_model_alias("digits", "champion", str(number))


@pytest.fixture
def follower(register: Register, model_file: Path) -> Follower:
    register(model_file)
    move(1)
    return Follower("models:/digits@champion", "--model")


@pytest.fixture
def refusals(follower: Follower) -> list[str]:
    heard: list[str] = []
    follower.on_refusal.append(heard.append)
    return heard


def answering(follower: Follower) -> int:
    version = follower.current.model.version
    assert version is not None
    return version.number


def test_the_new_model_answers_and_the_old_one_ends_after_its_last_answer(
    follower: Follower, register: Register, other_file: Path
) -> None:
    heard = []
    follower.on_swap.append(lambda model: heard.append(model.version.number))
    follower.look()
    assert (answering(follower), heard) == (1, [])
    move(register(other_file))
    with follower.lease() as old:
        follower.look()
        assert (answering(follower), heard) == (2, [2])
        assert old.batcher.is_alive()  # its request has not ended
        old.batcher.reserve(1)
        size = old.model.classifier.size
        output = old.batcher.submit(old.model.pixels(bytes_of_an_image(size))).result(60)
        assert output.probabilities.shape == (3,)
    old.batcher.join(10)
    assert not old.batcher.is_alive()
    with follower.lease() as new:
        assert new.model.version.number == 2
    assert new.batcher.is_alive()
    follower.close()
    assert not new.batcher.is_alive()


def bytes_of_an_image(size: int) -> bytes:
    import numpy as np

    from components.images.png_writer import encode_png

    return encode_png(np.zeros((size, size, 3), np.uint8))


def test_a_changed_file_is_refused_and_tried_again_later(
    follower: Follower,
    register: Register,
    other_file: Path,
    refusals: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = register(other_file)
    # The newest of the two stored files is that of version 2.
    stored = max(Path("mlruns").rglob("model.keras"), key=lambda path: path.stat().st_mtime_ns)
    content = stored.read_bytes()
    stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    move(number)
    follower.look()
    follower.look()  # within the pause it is not tried again
    assert answering(follower) == 1
    assert len(refusals) == 1
    assert "was changed since it was registered" in refusals[0]
    assert follower.trouble == refusals[0]
    move(1)
    follower.look()
    assert follower.trouble == ""
    move(number)
    follower.look()
    assert follower.trouble == refusals[0]
    stored.write_bytes(content)
    monkeypatch.setattr(following, "REFUSED_S", 0.0)
    follower.look()
    assert (answering(follower), follower.trouble) == (2, "")


def test_a_version_after_a_refused_one_is_not_kept_waiting(
    follower: Follower, register: Register, other_file: Path, classifier: Classifier, tmp_path: Path
) -> None:
    file = tmp_path / "classes.keras"
    write_classifier(file, replace(classifier, class_names=("cat", "dog", "cow")))
    move(register(file))
    follower.look()
    assert "other classes" in follower.trouble
    move(register(other_file))
    follower.look()
    assert (answering(follower), follower.trouble) == (3, "")


def test_a_version_with_the_same_file_is_another_version(
    follower: Follower, register: Register
) -> None:
    """What answers has the number and the lineage of the version that the alias names."""
    registry, version = client(), client().get_model_version("digits", "1")
    registry.create_model_version("digits", version.source, version.run_id, tags=version.tags)
    move(2)
    follower.look()
    assert answering(follower) == 2


def test_a_model_with_other_classes_is_refused(
    follower: Follower,
    register: Register,
    classifier: Classifier,
    tmp_path: Path,
    refusals: list[str],
) -> None:
    file = tmp_path / "classes.keras"
    write_classifier(file, replace(classifier, class_names=("cat", "dog", "cow")))
    move(register(file))
    follower.look()
    assert answering(follower) == 1
    assert "it has other classes" in refusals[0]


def test_a_version_that_fovea_did_not_write_is_refused(
    follower: Follower, register: Register, other_file: Path, refusals: list[str]
) -> None:
    number = register(other_file)
    client().delete_model_version_tag("digits", str(number), "model_id")
    move(number)
    follower.look()
    assert answering(follower) == 1
    assert "not registered by Fovea" in refusals[0]


def test_without_mlflow_or_the_alias_the_old_model_goes_on(
    follower: Follower, refusals: list[str], monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    client().delete_registered_model_alias("digits", "champion")
    follower.look()
    assert "only version 1" in caplog.text
    assert "only version 1" in follower.trouble
    move(1)
    follower.look()
    assert follower.trouble == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    follower.look()
    assert answering(follower) == 1
    assert not refusals  # a version that was not read is not refused
    assert DOWNLOADS.is_dir()


def test_a_number_and_a_file_are_not_followed(
    register: Register, model_file: Path, other_file: Path
) -> None:
    register(model_file)
    for address in ("models:/digits/1", str(model_file)):
        follower = Follower(address, "--model")
        move(register(other_file))
        before = follower.current
        follower.look()
        assert follower.current is before
        follower.close()
