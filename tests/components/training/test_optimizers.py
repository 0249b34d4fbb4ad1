"""Optimizers, against sums by hand. test_recipes_on_jax.py runs this file on JAX, too."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from components.params.reader import Params
from components.params.train import Average
from components.training.optimizers import build_optimizer, lower_rate
from components.training.phases import Phase

RATE, DECAY = 0.01, 0.1
GRADIENTS = [[1.0, -2.0], [3.0, 0.5], [-0.2, 0.1]]  # one for each update, equal for all weights


def network() -> keras.Model:
    """Two blocks and a head, with two weights each."""
    images = keras.Input((2,))
    names = ("block1_dense", "block2_dense", "logits")
    outputs = [keras.layers.Dense(1, use_bias=False, name=name)(images) for name in names]
    return keras.Model(images, keras.layers.Add()(outputs))


def phase_of(model: keras.Model, **changes) -> Phase:
    """A phase of 10 epochs with a constant rate."""
    lower, upper, _ = model.trainable_variables
    phase = Phase("finetune", model, None, None, 10, RATE, 0.0, None, False)
    return replace(phase, **{"schedule": "plateau", "blocks": ((upper,), (lower,)), **changes})


def trained(params: Params, model: keras.Model, updates: int = 3, **changes):
    """Return the optimizer after some updates, with one step in each epoch."""
    mine = ("layer_decay", "stages", "schedule", "warmup")
    phase = phase_of(model, **{name: changes.pop(name) for name in mine if name in changes})
    train = params.train.model_copy(update={"weight_decay": DECAY, **changes})
    optimizer = build_optimizer(phase, train, steps=1)
    optimizer.build(model.trainable_variables)
    for gradient in GRADIENTS[:updates]:
        shapes = [variable.shape for variable in model.trainable_variables]
        gradients = [np.array(gradient, np.float32).reshape(shape) for shape in shapes]
        optimizer.apply(gradients, model.trainable_variables)
    return optimizer


def weights(model: keras.Model) -> list[np.ndarray]:
    return [np.ravel(weight).astype(np.float64) for weight in model.get_weights()]


def adamw(weight: np.ndarray, factor: float, updates: int = 3) -> np.ndarray:
    """AdamW by its paper, with a share `factor` of the rate, in both places where the rate is."""
    mean = square = np.zeros(2)
    for number, gradient in enumerate(np.array(GRADIENTS[:updates]), 1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        step = mean / (1 - 0.9**number) / np.sqrt(square / (1 - 0.999**number))
        weight = weight - factor * RATE * DECAY * weight - factor * RATE * step
    return weight


def test_each_block_has_its_share_of_the_rate_and_of_the_weight_decay(params: Params) -> None:
    model = network()
    before = weights(model)
    trained(params, model, layer_decay=0.5)
    for weight, start, factor in zip(weights(model), before, (0.25, 0.5, 1.0), strict=True):
        np.testing.assert_allclose(weight, adamw(start, factor), atol=2e-6)


def test_the_rate_of_an_update_is_computed_once_for_the_step_and_once_for_the_decay(
    params: Params,
) -> None:
    class Counting(keras.optimizers.schedules.LearningRateSchedule):
        calls = 0

        def __call__(self, step):
            Counting.calls += 1
            return keras.ops.convert_to_tensor(RATE)

    model = network()
    before = weights(model)
    optimizer = trained(params, model, updates=0, schedule="cosine")
    optimizer.learning_rate = Counting()
    gradients = [np.array(GRADIENTS[0], np.float32).reshape(v.shape) for v in model.variables]
    optimizer.apply(gradients, model.trainable_variables)
    assert Counting.calls == 2  # not once for each of the three weights
    for weight, start in zip(weights(model), before, strict=True):
        np.testing.assert_allclose(weight, adamw(start, 1.0, updates=1), atol=2e-6)


def test_in_each_stage_more_blocks_are_trained_and_the_others_keep_every_bit(
    params: Params,
) -> None:
    model = network()
    before = model.get_weights()
    trained(params, model, updates=3, stages=2)
    lower, upper, head = model.get_weights()
    np.testing.assert_array_equal(lower, before[0])  # until half of the 10 steps is over
    assert np.all(upper != before[1])
    assert np.all(head != before[2])
    optimizer = trained(params, model, updates=0, stages=2)
    gradients = [np.ones(variable.shape, np.float32) for variable in model.trainable_variables]
    for step, moves in ((4, False), (5, True)):
        optimizer.iterations.assign(step)
        optimizer.apply(gradients, model.trainable_variables)
        assert np.all((model.get_weights()[0] != before[0]) == moves)


def sgd(weight: np.ndarray) -> np.ndarray:
    speed = np.zeros(2)
    for gradient in np.array(GRADIENTS):
        weight = weight - RATE * DECAY * weight
        speed = 0.8 * speed - RATE * gradient
        weight = weight + speed
    return weight


def rmsprop(weight: np.ndarray) -> np.ndarray:
    speed = square = np.zeros(2)
    for gradient in np.array(GRADIENTS):
        weight = weight - RATE * DECAY * weight
        square = 0.9 * square + 0.1 * gradient**2
        speed = 0.8 * speed + RATE * gradient / np.sqrt(square + 1e-7)
        weight = weight - speed
    return weight


def lion(weight: np.ndarray) -> np.ndarray:
    mean = np.zeros(2)
    for gradient in np.array(GRADIENTS):
        weight = weight - RATE * DECAY * weight
        weight = weight - RATE * np.sign(0.9 * mean + 0.1 * gradient)
        mean = 0.99 * mean + 0.01 * gradient
    return weight


@pytest.mark.parametrize("by_hand", [sgd, rmsprop, lion])
def test_an_optimizer_does_what_its_paper_says_with_decoupled_weight_decay(
    by_hand, params: Params
) -> None:
    model = network()
    before = weights(model)
    trained(params, model, optimizer=by_hand.__name__, momentum=0.8)
    for weight, start in zip(weights(model), before, strict=True):
        np.testing.assert_allclose(weight, by_hand(start), atol=2e-6)


def test_the_gradient_of_all_weights_together_has_at_most_the_norm(params: Params) -> None:
    model = network()
    before = weights(model)
    trained(params, model, updates=1, optimizer="sgd", weight_decay=0.0, clip_norm=0.5)
    moved = [start - weight for start, weight in zip(before, weights(model), strict=True)]
    assert np.linalg.norm(moved) == pytest.approx(0.5 * RATE, rel=1e-3)


def test_weights_are_averaged_with_bias_correction(params: Params) -> None:
    model = network()
    start = model.get_weights()
    passed = []
    for updates in (1, 2, 3):
        model.set_weights(start)
        optimizer = trained(params, model, updates, average=Average(ema=0.8, soup=0))
        passed.append(model.get_weights())
    expected = [
        sum(0.2 * 0.8 ** (2 - number) * one[place] for number, one in enumerate(passed))
        / (1 - 0.8**3)
        for place in range(3)
    ]
    for average, value in zip(optimizer.averages, expected, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(average), value, rtol=1e-5)


def test_only_updates_are_averaged_and_not_each_accumulated_batch(params: Params) -> None:
    model = network()
    average = Average(ema=0.8, soup=0)
    optimizer = trained(params, model, updates=3, accumulate=2, average=average)
    # Three batches are one update, and the first half of the next.
    for mean, weight in zip(optimizer.averages, model.get_weights(), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(mean), weight)


def test_on_a_plateau_the_rate_is_divided_by_10_and_the_checkpoint_knows(params: Params) -> None:
    optimizer = trained(params, network(), updates=0)
    rates = []
    for waited in (0, 1, 2, 3, 4, 0):
        lower_rate(optimizer, waited, patience=4, epochs=10)
        rates.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    assert rates == pytest.approx([RATE, RATE, RATE / 10, RATE / 10, RATE / 100, RATE / 100])
    assert any(variable is optimizer.rate_factor for variable in optimizer.variables)
    lower_rate(optimizer, 1, patience=1, epochs=10)
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(RATE / 1000)
    lower_rate(optimizer, 6, patience=60, epochs=32)  # as in the card for photographs
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(RATE / 1e4)
    other = trained(params, network(), updates=0, schedule="cosine")
    lower_rate(other, 4, patience=4, epochs=10)
    assert float(keras.ops.convert_to_numpy(other.learning_rate)) == pytest.approx(RATE)


def rates(params: Params, **changes) -> list[float]:
    optimizer = trained(params, network(), updates=0, **changes)
    found = []
    for step in range(11):
        optimizer.iterations.assign(step)
        found.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)) / RATE)
    return found


def test_schedules_are_those_of_their_papers(params: Params) -> None:
    halves = [1.0] * 5 + [0.1] * 3 + [0.01] * 3
    assert rates(params, schedule="step") == pytest.approx(halves, rel=1e-4)
    later = [0, 0.5, 1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]  # 8 steps follow the warm-up
    assert rates(params, schedule="step", warmup=0.2)[:10] == pytest.approx(later, rel=1e-4)
    assert rates(params, schedule="plateau", warmup=0.2)[:4] == pytest.approx([0, 0.5, 1, 1])
    cycle = rates(params, schedule="one_cycle", warmup=0.4)
    assert cycle[0] == pytest.approx(1 / 25)
    assert cycle[2] == pytest.approx((1 + 1 / 25) / 2)
    assert cycle[4] == pytest.approx(1)
    assert cycle[7] == pytest.approx(0.5, abs=1e-4)
    assert cycle[10] == pytest.approx(1 / 250_000, abs=1e-6)
    cosine = rates(params, schedule="cosine", warmup=0.2)
    assert cosine[:3] == pytest.approx([0, 0.5, 1])
    assert cosine[6] == pytest.approx(0.5)
    assert cosine[10] == pytest.approx(0, abs=1e-7)
