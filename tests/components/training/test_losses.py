"""Losses against formulas worked out by hand or by NumPy."""

import numpy as np
import pytest

from components.model.backend import load_keras
from components.training.losses import (
    build_loss,
    cost_sensitive,
    cross_entropy,
    focal,
    logit_adjusted,
)
from components.training_set.costs import cost_matrix
from components.training_set.examples import Balance


@pytest.fixture(scope="module", autouse=True)
def _keras() -> None:
    load_keras()  # The first use of TensorFlow fixes its number of threads.


LABELS = np.array([0, 1, 2], np.int64)
LOGITS = np.array([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [3.0, 0.0, -3.0]], np.float32)
COSTS = cost_matrix({"a": {"b": 4.0}, "c": {"a": 0.0}}, "abc").astype(np.float32)


@pytest.fixture(autouse=True)
def keras_as_the_product_starts_it() -> None:
    """Threads cannot change after the start, so no test may start Keras in another way."""
    load_keras()


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def values(loss, logits=LOGITS):
    return np.asarray(loss(LABELS, logits))


def test_cross_entropy_is_minus_the_log_probability_of_the_label():
    expected = -log_softmax(LOGITS)[np.arange(3), LABELS]
    np.testing.assert_allclose(values(cross_entropy(0.0)), expected, rtol=1e-5)


def test_label_smoothing_mixes_in_the_mean_over_classes():
    plain = -log_softmax(LOGITS)[np.arange(3), LABELS]
    expected = 0.9 * plain + 0.1 * -log_softmax(LOGITS).mean(axis=1)
    np.testing.assert_allclose(values(cross_entropy(0.1)), expected, rtol=1e-5)


def test_focal_with_gamma_0_is_cross_entropy():
    np.testing.assert_allclose(values(focal(0.0, 0.1)), values(cross_entropy(0.1)), rtol=1e-5)


def test_focal_weighs_a_sure_hit_less():
    ratio = values(focal(2.0, 0.0)) / values(cross_entropy(0.0))
    probability = np.exp(log_softmax(LOGITS))[np.arange(3), LABELS]
    np.testing.assert_allclose(ratio, (1 - probability) ** 2, rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_a_slope_on_a_sure_hit(gamma):
    import tensorflow as tf

    logits = tf.Variable([[60.0, -60.0, -60.0]])
    with tf.GradientTape() as tape:
        loss = focal(gamma, 0.1)(np.array([0]), logits)
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


def test_logit_adjustment_shifts_logits_by_the_log_priors():
    priors = np.log(np.array([0.7, 0.2, 0.1], np.float32))
    expected = values(cross_entropy(0.0), LOGITS + 1.5 * priors)
    np.testing.assert_allclose(values(logit_adjusted(priors, 1.5, 0.0)), expected, rtol=1e-5)


def test_the_expected_cost_is_added_with_costs_relative_to_the_largest():
    probabilities = np.exp(log_softmax(LOGITS))
    expected = values(cross_entropy(0.1)) + 3 * (COSTS / 4 * probabilities).sum(axis=1)
    np.testing.assert_allclose(values(cost_sensitive(COSTS, 3.0, 0.1)), expected, rtol=1e-5)
    np.testing.assert_allclose(
        values(cost_sensitive(COSTS, 0.0, 0.1)), values(cross_entropy(0.1)), rtol=1e-6
    )
    np.testing.assert_allclose(
        values(cost_sensitive(7 * COSTS, 3.0, 0.1)), expected, rtol=1e-5
    )  # only the ratios of costs matter


def test_the_best_probabilities_of_the_cost_sensitive_loss_prefer_the_cheap_decision():
    """Class 0 is likelier, but costs 9 if it is wrong; found by descent, and by the formula."""
    import tensorflow as tf

    truth = np.array([0.7, 0.3], np.float32)
    costs = np.array([[0, 1], [9, 0]], np.float32)
    found = {}
    for weight in (0.0, 10.0):
        loss, logits = cost_sensitive(costs, weight, 0.0), tf.Variable([[0.0, 0.0]])
        for _ in range(80):
            with tf.GradientTape() as tape:
                value = loss(truth[np.newaxis], logits)
            logits.assign_sub(0.3 * tape.gradient(value, logits))
        found[weight] = np.exp(log_softmax(logits.numpy()))[0]
    np.testing.assert_allclose(found[0.0], truth, atol=1e-3)
    assert found[10.0][1] > 0.5
    ratio = truth / found[10.0] - 10 * (truth @ costs / 9)  # the constant, for each class
    assert ratio[0] == pytest.approx(ratio[1], abs=0.02)


LOSSES = [
    "cross_entropy",
    "focal",
    "class_balanced_focal",
    "logit_adjusted",
    "cost_sensitive",
]


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_that_params_allows_is_one_finite_number_per_image(name, params):
    train = params.train.model_copy(update={"loss": name})
    assert values(build_loss(train, BALANCE)).shape == (3,)
    assert np.isfinite(values(build_loss(train, BALANCE))).all()


PRIORS = np.log(np.array([0.7, 0.2, 0.1], np.float32))
BALANCE = Balance(np.ones(3, np.int64), np.ones(3, np.float32), PRIORS, costs=COSTS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross_entropy", cross_entropy(0.2)),
        ("focal", focal(0.7, 0.2)),
        ("class_balanced_focal", focal(0.7, 0.2)),
        ("logit_adjusted", logit_adjusted(PRIORS, 1.5, 0.2)),
        ("cost_sensitive", cost_sensitive(COSTS, 2.5, 0.2)),
    ],
)
def test_a_loss_is_built_with_its_values_of_params(name, expected, params):
    update = {"loss": name, "focal_gamma": 0.7, "label_smoothing": 0.2, "logit_adjustment": 1.5}
    loss = build_loss(params.train.model_copy(update={**update, "cost_weight": 2.5}), BALANCE)
    np.testing.assert_array_equal(values(loss), values(expected))


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "logit_adjusted", "cost_sensitive"])
def test_the_loss_of_a_mixed_image_is_the_mean_of_those_of_its_classes(name, params):
    loss = build_loss(params.train.model_copy(update={"loss": name}), BALANCE)
    mixed = np.array([[0.3, 0.7, 0], [0, 1, 0], [0.5, 0.1, 0.4]], np.float32)
    per_class = np.stack([np.asarray(loss(np.full(3, label), LOGITS)) for label in range(3)], 1)
    expected = (mixed * per_class).sum(axis=1)
    np.testing.assert_allclose(np.asarray(loss(mixed, LOGITS)), expected, rtol=1e-5)
