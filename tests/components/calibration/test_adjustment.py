"""Logit adjustment: tau from val, in the file, before the temperature."""

import keras
import numpy as np
import pytest

from components.calibration.adjustment import (
    EVEN,
    NOT_SURE,
    TAUS,
    Adjustment,
    _standard_errors,
    fit_adjustment,
)
from components.calibration.effect import Effect
from components.calibration.outputs import calibrate
from components.calibration.temperature import softmax
from components.model.archive_checks import check_archive
from components.model.classifier import build_classifier, outputs, predict
from components.model.model_file import read_classifier, write_classifier
from components.training_set.examples import Examples

PRIORS = np.log([0.9, 0.09, 0.01])


def long_tailed(images: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of an ideal classifier for three normal classes with PRIORS, times `scale`."""
    generator = np.random.default_rng(2)
    labels = np.repeat(np.arange(3), (images * np.exp(PRIORS)).round().astype(int))
    seen = generator.normal(size=(len(labels), 3)) + 2 * np.eye(3)[labels]
    return scale * (2 * seen + PRIORS), labels


def test_tau_is_in_proportion_to_the_scale_of_the_logits():
    """Less than the tau of the balanced accuracy alone, which is the scale, and more than half."""
    for scale in (0.5, 1.0):
        adjustment = fit_adjustment(*long_tailed(20_000, scale), PRIORS)
        assert adjustment.tau == pytest.approx(0.6 * scale, abs=0.06)
        assert adjustment.after > adjustment.before + 0.1
        assert adjustment.notes == ()
        assert adjustment.shift == pytest.approx(-adjustment.tau * PRIORS, abs=1e-6)


def test_a_val_that_says_nothing_adjusts_nothing_and_says_so():
    adjustment = fit_adjustment(np.array([[30.0, 0, 0], [0, 30.0, 0]]), np.array([0, 1]), PRIORS)
    assert (adjustment.tau, adjustment.notes) == (0.0, (NOT_SURE,))
    assert adjustment.in_words() == f"logit adjustment: none, because {NOT_SURE}"


def test_a_gain_of_rare_classes_that_costs_too_much_accuracy_adjusts_nothing():
    """All rare images are found if the close common ones are lost: 200 are worth it, 1,200 not."""
    common = np.tile([0.0, -5.0], (980, 1))
    close, rare = np.tile([0.0, -1.0], (200, 1)), np.tile([0.0, -1.0], (20, 1))
    labels = np.repeat([0, 0, 1], [980, 200, 20])
    priors = np.log([0.98, 0.02])
    lost = fit_adjustment(np.concatenate([common, close, rare]), labels, priors)
    assert lost.tau > 0
    few = np.concatenate([common[:100], np.tile(close, (6, 1)), rare])
    assert fit_adjustment(few, np.repeat([0, 1], [1_300, 20]), priors).tau == 0


def test_one_lucky_image_does_not_decide():
    """The only image of class 2 needs a tau of 1.9; by luck alone that would be the best tau."""
    logits, labels = long_tailed(300)
    lucky = np.array([[PRIORS[0] * 1.9 + 0.1, -9.0, PRIORS[2] * 1.9]])
    logits, labels = np.concatenate([logits[:-3], lucky]), np.concatenate([labels[:-3], [2]])
    assert fit_adjustment(logits, labels, PRIORS).tau < 1.7


def test_the_standard_error_is_that_of_a_difference_of_paired_proportions():
    """Bonett and Price, 2012: of 8 images, the best tau alone is right on 3, the other one on 1.

    p = 4 / 10 and q = 2 / 10; the variance is (p + q - (p - q)²) / 10 = 0.056. The 2 images of the
    other class are right with both: p = q = 1 / 4, and (p + q) / 4 = 0.125. In the mean of accuracy
    and balanced accuracy, the recalls have the weights (0.8 + 0.5) / 2 and (0.2 + 0.5) / 2.
    """
    labels = np.array([0] * 8 + [1] * 2)
    best = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1, 1], bool)
    other = np.array([0, 0, 0, 1, 1, 1, 0, 0, 1, 1], bool)
    [error] = _standard_errors(other[:, np.newaxis], best, labels)
    assert error == pytest.approx(np.sqrt(0.65**2 * 0.056 + 0.35**2 * 0.125))


def test_the_middle_of_all_taus_within_one_standard_error_is_taken_and_measured():
    logits, labels = long_tailed(1_000)
    adjustment = fit_adjustment(logits, labels, PRIORS)
    right = np.stack([(logits - tau * PRIORS).argmax(axis=1) == labels for tau in TAUS], axis=1)
    recalls = [right[labels == label].mean(axis=0) for label in range(3)]
    balanced = np.mean(recalls, axis=0)
    scores = (right.mean(axis=0) + balanced) / 2
    best = int(scores.argmax())
    errors = _standard_errors(right, right[:, best], labels)
    [within] = np.nonzero(scores >= scores[best] - errors)
    assert 0 < within[0] < within[-1] < len(TAUS) - 1
    assert adjustment.tau == TAUS[round(within.mean())]
    assert adjustment.after == pytest.approx(balanced[round(within.mean())])
    assert adjustment.notes == ()
    # With 100 images, 0 is within one standard error of the best tau.
    assert fit_adjustment(*long_tailed(100), PRIORS).notes == (NOT_SURE,)


def test_nothing_is_adjusted_where_sampling_has_evened_the_classes():
    logits, labels = long_tailed(100)
    adjustment = fit_adjustment(logits, labels, np.log(np.full(3, 1 / 3)))
    assert (adjustment.tau, adjustment.shift, adjustment.notes) == (0.0, (0.0,) * 3, (EVEN,))
    assert adjustment.before == adjustment.after


def test_a_class_without_val_images_is_no_problem():
    logits, labels = long_tailed(2_000)
    kept = labels < 2
    assert 0 < fit_adjustment(logits[kept], labels[kept], PRIORS).tau <= 2


def test_the_file_adds_the_shift_first_and_divides_by_the_temperature_then(
    params, tiny_backbone, tmp_path
):
    keras.utils.set_random_seed(2)
    classifier = build_classifier(params.model, ("a", "b", "c"), 8, "squash")
    kernel, _ = classifier.model.get_layer("logits").get_weights()
    generator = np.random.default_rng(3)
    classifier.model.get_layer("logits").set_weights(
        [generator.normal(0, 20, kernel.shape), PRIORS]
    )
    images = generator.integers(0, 256, (90, 8, 8, 3), np.uint8)
    logits = outputs(classifier.logits_model, images)
    labels = (logits - 1.5 * PRIORS).argmax(axis=1)
    labels[::7] = 0
    val, priors = Examples(images, labels), PRIORS.astype(np.float32)
    adjusted, effect = calibrate(classifier, val, priors)
    assert effect.adjustment is not None
    assert effect.adjustment.tau > 0
    write_classifier(tmp_path / "m.keras", adjusted)
    check_archive(tmp_path / "m.keras")
    read = read_classifier(tmp_path / "m.keras")
    assert [layer.name for layer in read.model.layers][-4:] == [
        *("logits", "logit_adjustment", "temperature", "probabilities")
    ]
    shifted = logits.astype(np.float64) + effect.adjustment.shift
    expected = softmax(shifted / effect.temperature)
    np.testing.assert_allclose(predict(read, images), expected, rtol=1e-4, atol=1e-6)

    tree = effect.to_tree()
    assert tree["logit_adjustment"]["tau"] == effect.adjustment.tau
    assert Effect.from_tree(tree).to_tree() == tree
    assert effect.to_flat()["tau"] == effect.adjustment.tau
    assert effect.in_words().startswith(f"logit adjustment: tau {effect.adjustment.tau:g}, bal")
    _, plain = calibrate(classifier, val)
    assert plain.adjustment is None
    assert "logit_adjustment" not in plain.to_tree()
    assert Adjustment.from_tree(tree["logit_adjustment"]).shift == effect.adjustment.shift
