"""The temperature: the best one, within its range, in the file, and never in a warm start."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from components.calibration.effect import Effect
from components.calibration.outputs import calibrate
from components.calibration.temperature import (
    AT_AN_END,
    EQUAL,
    HIGHEST,
    LOWEST,
    NO_MISTAKE,
    fit_temperature,
    softmax,
)
from components.errors import UserError
from components.model.archive_checks import check_archive
from components.model.classifier import (
    Classifier,
    add_temperature,
    build_classifier,
    outputs,
    predict,
)
from components.model.model_file import read_classifier, write_classifier
from components.model.warm_start import warm_start_classifier
from components.training_set.examples import Examples

NAMES = ("blue", "green", "red")
IMAGES = np.random.default_rng(1).integers(0, 256, (90, 8, 8, 3), np.uint8)


def noisy(images: int, classes: int, scale: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right in some cases, and `scale` times too large."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    honest = generator.normal(size=(images, classes)) + 1.5 * np.eye(classes)[labels]
    return scale * honest, labels


def nll(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """The definition, with nothing from the code under test."""
    of_labels = np.take_along_axis(logits, labels[:, None], axis=1)
    return float(np.log(np.exp((logits - of_labels) / temperature).sum(axis=1)).mean())


@pytest.mark.parametrize(
    ("images", "classes", "scale", "seed"),
    [(200, 3, 1.0, 0), (50, 10, 5.0, 1), (400, 2, 0.2, 2), (30, 7, 12.0, 3)],
)
def test_no_temperature_of_a_fine_grid_is_better(images, classes, scale, seed):
    logits, labels = noisy(images, classes, scale, seed)
    fitted, notes = fit_temperature(logits.astype(np.float32), labels)
    grid = np.exp(np.linspace(np.log(LOWEST), np.log(HIGHEST), 1201))
    losses = [nll(logits, labels, temperature) for temperature in grid]
    best = int(np.argmin(losses))
    assert 0 < best < 1200
    assert grid[best - 1] <= fitted <= grid[best + 1]
    assert nll(logits, labels, fitted) <= min(losses) + 1e-9
    assert notes == ()


def test_ten_times_larger_logits_need_a_ten_times_higher_temperature():
    logits, labels = noisy(100, 4, 0.5, 5)
    one, ten = (fit_temperature(factor * logits, labels).temperature for factor in (1, 10))
    assert ten == pytest.approx(10 * one, abs=1e-5)


def test_a_constant_added_to_all_logits_of_an_image_changes_nothing():
    logits, labels = noisy(60, 3, 1.0, 6)
    moved = logits + np.linspace(-50, 50, 60)[:, None]
    assert fit_temperature(moved, labels).temperature == pytest.approx(
        fit_temperature(logits, labels).temperature, abs=1e-5
    )


def test_val_without_a_mistake_is_taken_for_val_with_one_more_image():
    """N images without a mistake are worth a confidence of N / (N + 1)."""
    for images in (1, 4, 100):
        logits = np.tile([0.3, 0.0, 0.0], (images, 1))
        fitted, notes = fit_temperature(logits, np.zeros(images, int))
        confidence = softmax(logits / fitted)[0, 0]
        assert confidence == pytest.approx(images / (images + 1), abs=1e-4)
        assert notes == (NO_MISTAKE,)


def test_a_class_without_val_images_is_no_problem():
    logits, labels = noisy(80, 3, 2.0, 7)
    kept = labels != 1
    fitted, notes = fit_temperature(logits[kept], labels[kept])
    around = [nll(logits[kept], labels[kept], fitted * factor) for factor in (0.99, 1, 1.01)]
    assert min(around) == around[1]
    assert notes == ()


@pytest.mark.parametrize(
    ("logits", "labels", "fitted", "notes"),
    [
        ([[2.0, 2.0, 2.0]], [1], 1.0, (EQUAL,)),
        ([[5.0], [-3.0]], [0, 0], 1.0, (EQUAL,)),  # one class: its probability is 1
        ([[9.0, 0.0]], [1], HIGHEST, (AT_AN_END,)),  # only mistakes
        ([[9.0, 0.0], [9.0, 0.0]], [0, 1], HIGHEST, (AT_AN_END,)),  # no better than chance
        ([[1e-3, 0.0]] * 9, [0] * 8 + [1], LOWEST, (AT_AN_END,)),
        ([[1e-3, 0.0]] * 9, [0] * 9, LOWEST, (NO_MISTAKE, AT_AN_END)),
        ([[1e30, 0.0]] * 9, [0] * 8 + [1], HIGHEST, (AT_AN_END,)),
        ([[-1e38, 1e38], [1e38, -1e38]], [1, 0], HIGHEST, (NO_MISTAKE, AT_AN_END)),
    ],
)
def test_the_temperature_stays_in_its_range_and_says_so(logits, labels, fitted, notes):
    assert fit_temperature(np.array(logits), np.array(labels)) == (fitted, notes)


@pytest.fixture(scope="module")
def trained(params, tiny_backbone) -> Classifier:
    """Random weights with large logits, as of a training without label smoothing."""
    keras.utils.set_random_seed(2)
    classifier = build_classifier(params.model, NAMES, 8, "squash")
    logits = classifier.model.get_layer("logits")
    generator = np.random.default_rng(3)
    kernel, _ = logits.get_weights()
    logits.set_weights([generator.normal(0, 20, kernel.shape), generator.normal(0, 5, 3)])
    return classifier


@pytest.fixture(scope="module")
def val(trained) -> Examples:
    """Images of which the classifier names 70 correctly, and 20 of the 40 that are hardest not."""
    logits = outputs(trained.logits_model, IMAGES)
    margins = np.diff(np.sort(logits, axis=1))[:, -1]
    ranked = np.argsort(logits, axis=1)
    labels = ranked[:, -1].copy()
    hard = np.argsort(margins)[:40:2]
    labels[hard] = ranked[hard, -2]
    return Examples(IMAGES, labels)


@pytest.fixture(scope="module")
def calibrated(trained, val) -> tuple[Classifier, Effect]:
    return calibrate(trained, val)


def test_the_file_gives_the_softmax_of_the_logits_divided_by_the_temperature(
    trained, calibrated, tmp_path
):
    classifier, effect = calibrated
    write_classifier(tmp_path / "m.keras", classifier)
    assert check_archive(tmp_path / "m.keras").class_names == NAMES
    read = read_classifier(tmp_path / "m.keras")
    logits = outputs(trained.logits_model, IMAGES).astype(np.float64)
    expected = softmax(logits / effect.temperature)
    found = predict(read, IMAGES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert abs(found - predict(trained, IMAGES)).max() > 0.05
    np.testing.assert_array_equal(outputs(read.logits_model, IMAGES), logits.astype(np.float32))


def test_no_prediction_changes_and_val_becomes_more_honest(trained, calibrated, val):
    classifier, effect = calibrated
    before, after = predict(trained, val.inputs), predict(classifier, val.inputs)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    assert effect.after.nll < effect.before.nll
    logits = outputs(trained.logits_model, val.inputs).astype(np.float64)
    for scores, temperature in ((effect.before, 1.0), (effect.after, effect.temperature)):
        assert scores.nll == pytest.approx(nll(logits, val.labels, temperature), rel=1e-4)
    assert effect.after.ece < effect.before.ece
    assert (effect.val_images, effect.notes) == (90, ())
    flat = effect.to_flat()
    assert flat["temperature"] == effect.temperature
    assert flat["val_ece_before"] == pytest.approx(effect.before.ece, abs=1e-6)
    assert flat["val_nll_after"] == pytest.approx(effect.after.nll, abs=1e-6)
    assert effect.in_words().startswith(f"temperature {effect.temperature:.3g}, fitted on 90 val")


def test_equal_weights_and_temperatures_give_equal_bytes(trained, calibrated, params, tmp_path):
    twin = build_classifier(params.model, NAMES, 8, "squash")
    twin.model.set_weights(trained.model.get_weights())
    temperature = calibrated[1].temperature
    for name, classifier in {
        "one": calibrated[0],
        "two": add_temperature(twin, temperature),
        "other": add_temperature(twin, temperature + 1e-6),
    }.items():
        write_classifier(tmp_path / name, classifier)
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two != other


def test_a_second_temperature_replaces_the_first(trained, calibrated, val):
    again, effect = calibrate(calibrated[0], val)
    assert effect == calibrated[1]
    np.testing.assert_array_equal(predict(again, IMAGES), predict(calibrated[0], IMAGES))


def test_a_warm_start_takes_the_logits_over_and_not_the_temperature(calibrated, params, tmp_path):
    write_classifier(tmp_path / "m.keras", calibrated[0])
    source = read_classifier(tmp_path / "m.keras")
    logits = outputs(source.logits_model, IMAGES)
    warm = warm_start_classifier(params.model, NAMES, 8, "squash", source, "id")
    assert [layer.name for layer in warm.model.layers] == [
        *("images", "backbone", "dropout", "logits", "probabilities")
    ]
    np.testing.assert_array_equal(outputs(warm.logits_model, IMAGES), logits)
    expected = softmax(logits.astype(np.float64))
    np.testing.assert_allclose(predict(warm, IMAGES), expected, rtol=1e-4, atol=1e-7)


def with_logits(monkeypatch: pytest.MonkeyPatch, logits: np.ndarray) -> None:
    monkeypatch.setattr("components.calibration.outputs.outputs", lambda *_: logits)


def test_images_without_finite_logits_are_left_out_and_counted(trained, val, monkeypatch):
    logits = outputs(trained.logits_model, val.inputs)
    good = np.arange(90) % 9 > 1
    broken = logits.copy()
    broken[~good, 1] = np.resize([np.inf, -np.inf, np.nan], 20)
    with_logits(monkeypatch, logits[good])
    _, expected = calibrate(trained, Examples(val.inputs[good], val.labels[good]))
    with_logits(monkeypatch, broken)
    _, effect = calibrate(trained, val)
    note = "20 val images without finite logits are left out"
    assert effect == replace(expected, notes=(note,))
    assert effect.in_words().endswith(f"; {note}")


def test_no_finite_logits_at_all_are_one_sentence(trained, val, monkeypatch):
    with_logits(monkeypatch, np.full((90, 3), np.nan, np.float32))
    with pytest.raises(UserError, match=r"no val image has finite logits; lower.*90 val images$"):
        calibrate(trained, val)
