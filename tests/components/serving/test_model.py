"""A model predicts from bytes: the pixels of `prepare`, a row for each input, checked files."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from components.errors import UserError
from components.images.fault import Fault
from components.images.png_writer import encode_png
from components.model.classifier import Classifier, predict
from components.model.model_file import write_classifier
from components.params import yaml_text
from components.params.reader import Params, read_params
from components.preparation.pixels import prepare_images
from components.serving import Model, load
from components.serving.model import build_model
from components.serving.rules import STANDARD
from tests.cards import CARDS, DIGITS
from tests.components.images.corpus import Case, cases
from tests.components.serving.conftest import NAMES, SIZE

Register = Callable[..., int]


@pytest.fixture(scope="module")
def corpus() -> list[Case]:
    return list(cases())


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def test_every_file_has_the_pixels_of_prepare_and_the_probabilities_of_evaluate(
    corpus: list[Case], model: Model, classifier: Classifier, params: Params, tmp_path: Path
) -> None:
    for case in corpus:
        (tmp_path / case.name).write_bytes(case.data)
    found = model.predict([tmp_path / case.name for case in corpus], top=3)
    assert [each.fault for each in found] == [case.code for case in corpus]

    sound = [case for case in corpus if case.code is None]
    assert len(sound) > 100
    rows = pd.DataFrame({"path": [case.name for case in sound]})
    rows["image_id"] = [hashlib.sha256(case.data).hexdigest() for case in sound]
    prepare = params.prepare.model_copy(update={"size": SIZE, "resize": "pad"})
    prepare_images(tmp_path, rows, params.ingest, prepare, tmp_path / "prepared.npy")
    prepared = np.load(tmp_path / "prepared.npy")
    served = np.stack([model.pixels(case.data) for case in sound])
    np.testing.assert_array_equal(served, prepared)

    expected = predict(classifier, prepared)
    predicted = [each for each in found if each.fault is None]
    shares = np.array([list(each.probabilities.values()) for each in predicted])
    np.testing.assert_allclose(shares, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.9
    assert [each.label for each in predicted] == [NAMES[row.argmax()] for row in shares]
    for each, row in zip(predicted, shares, strict=True):
        assert [share for _, share in each.top] == sorted(row, reverse=True)
        assert each.top[0] == (each.label, each.probability)


def test_paths_bytes_and_arrays_give_the_same(model: Model, tmp_path: Path) -> None:
    pixels = noise(1)[0]
    file = tmp_path / "image.png"
    file.write_bytes(encode_png(pixels))
    (tmp_path / "link.png").symlink_to(file)
    images = [pixels, file, str(file), file.read_bytes(), bytearray(file.read_bytes())]
    first, *others = model.predict([*images, tmp_path / "link.png"])
    assert [each.label for each in others] == [first.label] * 5
    shares = [list(each.probabilities.values()) for each in (first, *others)]
    np.testing.assert_allclose(shares, shares[:1] * 6, atol=1e-6)
    deep = pixels.astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(model.pixels(deep), pixels)


def test_what_is_no_image_is_a_fault_and_not_an_error(model: Model, tmp_path: Path) -> None:
    small = replace(model, rules=model.rules.model_copy(update={"max_bytes": 100}))
    inputs = [
        (tmp_path / "none.png", "missing"),
        (tmp_path, "not_a_file"),
        ("a\0b", "missing"),
        ("x" * 300, "missing"),
        (b"", "empty_file"),
        (bytes(101), "too_many_bytes"),
        (np.zeros((4, 4), np.float32), "not_an_image"),
        (np.zeros((4, 4), object), "not_an_image"),
        (np.zeros((2, 4, 4, 3), np.uint8), "not_an_image"),
    ]
    found = small.predict([image for image, _ in inputs])
    assert [each.fault for each in found] == [code for _, code in inputs]
    assert all(each.reason and each.label is None and not each.top for each in found)


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 33, 70])
def test_any_number_of_images_keeps_its_order(
    count: int, model: Model, classifier: Classifier
) -> None:
    images = noise(count)
    found = [list(each.probabilities.values()) for each in model.predict(list(images))]
    expected = predict(classifier, images)
    np.testing.assert_allclose(np.reshape(found, (count, 3)), expected, atol=1e-5)
    np.testing.assert_allclose(model.probabilities(images), expected, atol=1e-5)


def test_few_images_are_read_ahead(model: Model) -> None:
    read = 0

    def images() -> Iterator[np.ndarray]:
        nonlocal read
        for image in noise(10):
            for _ in range(200):
                read += 1
                yield image

    next(model.stream(images()))
    assert read < 500


def test_no_batch_is_filled_up_where_any_size_is_as_good(model: Model) -> None:
    sizes = []

    def compute(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return np.full((len(images), 3), 1 / 3, np.float32)

    assert model.any_size
    replace(model, compute=compute).probabilities(noise(5))
    replace(model, compute=compute, any_size=False).probabilities(noise(5))
    assert sizes == [5, 8]


def test_large_images_make_small_batches(model: Model) -> None:
    assert model.batches == (1, 8, 32)
    large = replace(model, classifier=replace(model.classifier, size=448))
    assert large.batches == (1, 8)
    assert replace(model, classifier=replace(model.classifier, size=1024)).batches == (1,)


def test_of_equal_probabilities_the_first_class_counts_as_in_evaluate(model: Model) -> None:
    found = model.prediction(np.array([0.2, 0.4, 0.4], np.float32), top=3)
    assert [name for name, _ in found.top] == [NAMES[1], NAMES[2], NAMES[0]]


def test_wrong_calls_are_one_sentence(model: Model) -> None:
    with pytest.raises(UserError, match=r"write predict\(\[image\]\)\. Received: ndarray"):
        model.predict(noise(3))
    for top in (0, 4):
        with pytest.raises(UserError, match=rf"top must be 1 to 3.* Received: {top}"):
            model.predict([], top)
    broken = replace(model, compute=lambda images: np.full((len(images), 3), np.nan))
    with pytest.raises(UserError, match="must give finite probabilities"):
        broken.predict(list(noise(2)))


def test_the_standard_rules_are_those_of_the_cards() -> None:
    for card in CARDS.glob("*.yaml"):
        assert read_params(card).ingest.decode == STANDARD


def test_a_model_refuses_and_blends_as_in_its_training(classifier: Classifier) -> None:
    rules = {**STANDARD.pixel_rules(), "grey": "refuse", "background": [0, 0, 0]}
    strict, old = (build_model(replace(classifier, decode=known)) for known in (rules, None))
    with pytest.raises(Fault, match="grey"):
        strict.pixels(np.zeros((8, 8), np.uint8))
    assert old.pixels(np.zeros((8, 8), np.uint8)).max() == 0
    transparent = encode_png(np.zeros((8, 8, 4), np.uint8))
    assert (strict.pixels(transparent).max(), old.pixels(transparent).min()) == (0, 255)


def test_other_limits_change_no_other_rule(model: Model) -> None:
    limits = {"max_bytes": 7, "max_pixels": 9}
    others = STANDARD.model_copy(update={**limits, "alpha": "drop"})
    assert model.with_limits(others).rules == model.rules.model_copy(update=limits)


def test_a_version_is_loaded_by_its_number_and_its_alias(
    register: Register, model_file: Path
) -> None:
    register(model_file)
    for address in ("models:/digits/1", "models:/digits@challenger"):
        loaded = load(address)
        assert loaded.version is not None
        assert (loaded.version.number, loaded.class_names) == (1, NAMES)
    with pytest.raises(UserError, match=r"only version 1 \(challenger\)\. Received: 2"):
        load("models:/digits/2")
    with pytest.raises(UserError, match=r"only version 1 \(challenger\)\. Received: champion"):
        load("models:/digits@champion")
    with pytest.raises(UserError, match=r"the sha256 of version 1 of digits is .* Received: "):
        load(f"models:/digits/1#sha256={'0' * 64}")
    with pytest.raises(UserError, match="address must be a file, models:/NAME@ALIAS or"):
        load("models:/digits")
    with pytest.raises(UserError, match=r"does not exist.*Received: none\.keras"):
        load("none.keras")


def test_a_changed_version_is_refused(register: Register, model_file: Path) -> None:
    register(model_file)
    load("models:/digits/1")
    shutil.rmtree(".fovea/weights")
    [stored] = Path("mlruns").rglob("model.keras")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    with pytest.raises(UserError, match="was changed since it was registered"):
        load("models:/digits/1")


@pytest.mark.parametrize(("known", "alpha"), [(True, "drop"), (False, "blend")])
def test_a_version_of_before_is_served_by_the_params_of_its_training(
    known: bool,
    alpha: str,
    register: Register,
    classifier: Classifier,
    tmp_path: Path,
) -> None:
    old = tmp_path / "old.keras"
    write_classifier(old, replace(classifier, decode=None, sixteen_bit="stretch"))
    tree = yaml.safe_load(DIGITS.read_text())
    tree["ingest"]["decode"] |= {"alpha": "drop", "max_bytes": 5}
    digest = yaml_text.digest(tree)
    register(old, yaml.safe_dump(tree), params=digest if known else "0" * 64)
    rules = load("models:/digits/1").rules
    assert (rules.alpha, rules.sixteen_bit) == (alpha, "stretch")
    assert rules.max_bytes == STANDARD.max_bytes
