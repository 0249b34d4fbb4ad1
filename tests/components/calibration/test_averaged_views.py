"""Views, logit adjustment and temperature in the saved model, in this order."""

import keras
import numpy as np
import pytest

from components.calibration.adjustment import fit_adjustment
from components.calibration.averaged_views import VIEWS, add_views, views_of
from components.calibration.outputs import calibrate, fit_outputs
from components.calibration.temperature import fit_temperature, softmax
from components.model.archive_checks import check_archive
from components.model.classifier import (
    add_logit_adjustment,
    add_temperature,
    build_classifier,
    outputs,
    predict,
)
from components.model.model_file import read_classifier, write_classifier
from components.model.warm_start import warm_start_classifier
from components.params.hyperparameters import Hyperparameters
from components.training_set.balance import plan
from components.training_set.examples import Balance, Data, Examples

NAMES = ("a", "b", "c")
SIZE = 16
IMAGES = np.random.default_rng(1).integers(0, 256, (70, SIZE, SIZE, 3), np.uint8)
OFFSETS = [0.5, -1.0, 2.0]


@pytest.fixture(scope="module")
def trained(params, tiny_backbone):
    keras.utils.set_random_seed(2)
    model = params.model.model_copy(update={"hidden": (6,), "batch_norm": True})
    classifier = build_classifier(model, NAMES, SIZE, "squash")
    classifier.model.get_layer("logits").kernel.assign(
        np.random.default_rng(3).normal(0, 9, (6, 3))
    )
    return classifier


def made_by_hand(views):
    if views == "mirrored":
        return [IMAGES, IMAGES[:, :, ::-1]]
    crops = []
    for top, left in ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1)):
        crop = IMAGES[:, top : top + 14, left : left + 14].astype(np.float32)
        large = keras.ops.image.resize(crop, (SIZE, SIZE), interpolation="bilinear")
        crops.append(np.rint(keras.ops.convert_to_numpy(large)).astype(np.uint8))
    return crops


@pytest.mark.parametrize("views", [pytest.param("mirrored", marks=pytest.mark.slow), "five"])
def test_the_file_averages_the_logits_of_views_adjusts_them_and_divides_them(
    views, trained, tmp_path
):
    plain = outputs(trained.logits_model, IMAGES)
    single = [outputs(trained.logits_model, images) for images in made_by_hand(views)]
    assert len(single) == VIEWS[views]
    assert abs(single[-1] - plain).max() > 0.1
    mean = np.mean(single, axis=0)
    averaged = add_views(trained, views)
    np.testing.assert_allclose(outputs(averaged.logits_model, IMAGES), mean, rtol=1e-4, atol=1e-4)
    adjusted = add_logit_adjustment(averaged, OFFSETS)
    np.testing.assert_allclose(
        outputs(adjusted.logits_model, IMAGES), mean + OFFSETS, rtol=1e-4, atol=1e-4
    )
    write_classifier(tmp_path / "m.keras", add_temperature(adjusted, 2.5))
    assert check_archive(tmp_path / "m.keras").size == SIZE
    read = read_classifier(tmp_path / "m.keras")
    expected = softmax((mean + np.array(OFFSETS)) / 2.5)
    np.testing.assert_allclose(predict(read, IMAGES), expected, atol=1e-4)
    np.testing.assert_allclose(
        outputs(read.logits_model, IMAGES), mean + OFFSETS, rtol=1e-4, atol=1e-4
    )
    assert views_of(read) == views


def test_each_part_is_fitted_on_val_and_on_what_those_before_it_give(trained, params):
    """The labels are those of adjusted logits, but for the 20 images that are least sure."""
    balance = Balance.from_plan(plan("none", list("a" * 900 + "b" * 30 + "c" * 10), NAMES, 0.9))
    log_priors = balance.for_loss("class_balanced_focal").log_priors
    single = [outputs(trained.logits_model, images) for images in made_by_hand("mirrored")]
    mean = np.mean(single, axis=0)
    ranked = np.argsort(mean - log_priors, axis=1)
    labels = ranked[:, -1].copy()
    hard = np.argsort(np.diff(np.sort(mean, axis=1))[:, -1])[:20]
    labels[hard] = ranked[hard, -2]
    val, train = Examples(IMAGES, labels), Examples(IMAGES, (labels + 1) % 3)
    data = Data(train, val, balance, NAMES, SIZE, "squash", "70 images")
    asked = Hyperparameters(model=params.model, train=params.train).with_overrides(
        {
            "model.views": "mirrored",
            "model.logit_adjustment": "tuned",
            "train.loss": "class_balanced_focal",
        }
    )
    _, effect = fit_outputs(trained, asked, data)

    adjustment = fit_adjustment(mean, labels, log_priors)
    assert adjustment.tau > 0
    assert effect.adjustment.shift == pytest.approx(adjustment.shift)
    fitted = fit_temperature(mean + adjustment.shift, labels).temperature
    assert effect.temperature == pytest.approx(fitted, rel=1e-4)
    _, of_one = calibrate(trained, val, log_priors)
    assert abs(effect.temperature - of_one.temperature) > 1e-3


def test_what_must_be_fitted_again_is_left_out(trained):
    full = add_temperature(add_logit_adjustment(add_views(trained, "mirrored"), OFFSETS), 2.0)
    names = [layer.name for layer in full.model.layers]
    assert names[-3:] == ["logit_adjustment", "temperature", "probabilities"]
    again = [layer.name for layer in add_logit_adjustment(full, OFFSETS).model.layers]
    assert (again.count("logit_adjustment"), "temperature" in again) == (1, False)
    other = [layer.name for layer in add_views(full, "five").model.layers]
    assert not {"logit_adjustment", "temperature"} & set(other)
    assert views_of(add_views(full, "five")) == "five"
    assert add_views(trained, "plain") is trained


def test_a_warm_start_takes_over_no_views(trained, params, tmp_path):
    write_classifier(tmp_path / "m.keras", add_views(trained, "five"))
    source = read_classifier(tmp_path / "m.keras")
    model = params.model.model_copy(update={"hidden": (6,), "batch_norm": True})
    warm = warm_start_classifier(model, NAMES, SIZE, "squash", source, "id")
    assert views_of(warm) == "plain"
    np.testing.assert_array_equal(
        outputs(warm.logits_model, IMAGES), outputs(trained.logits_model, IMAGES)
    )
