"""The learning rate range test on 36 images."""

import logging
from dataclasses import replace

import keras
import numpy as np
import pytest

from components.errors import UserError
from components.learning_rate import range_test
from components.learning_rate.picture import decimal, draw_rates
from components.learning_rate.range_test import (
    HIGHEST,
    LOWEST,
    UPDATES,
    RateCurve,
    _compile,
    find_rate,
    is_over,
)
from components.model.classifier import build_classifier
from components.model.model_file import write_classifier
from components.training.phases import Phase
from tests.components.training.conftest import tiny_data, tiny_hyperparameters


@pytest.fixture
def data(tiny_backbone):
    return tiny_data()


@pytest.fixture
def hyperparameters(params):
    return tiny_hyperparameters(params)


def test_the_rate_to_train_with_is_a_tenth_of_the_one_with_the_lowest_loss() -> None:
    rates = np.geomspace(1e-6, 1, 61)
    losses = 1 + (np.log10(rates) + 2) ** 2 + np.random.default_rng(1).normal(0, 0.3, 61)
    curve = RateCurve("finetune", rates, losses)
    assert 0.001 <= curve.suggestion <= 0.003  # the lowest loss is near 0.01
    assert len(curve.smoothed) == 61
    picture = draw_rates(curve, 0.0003)
    assert picture == draw_rates(curve, 0.0003)
    assert picture.startswith("<?xml")
    assert float(decimal(curve)) == curve.suggestion


@pytest.mark.parametrize("seed", range(20))
def test_if_the_loss_falls_at_no_rate_the_last_one_before_it_rises_counts(seed: int) -> None:
    rates = np.geomspace(1e-6, 1, 81)
    too_high = np.maximum(0, np.log10(rates / 5e-4))
    losses = 0.9 + too_high**2 + np.random.default_rng(seed).normal(0, 0.12, 81)
    curve = RateCurve("finetune", rates, losses)
    assert not curve.falls
    assert 1e-4 <= curve.suggestion <= 3e-3
    assert curve.smoothed[curve.best + 1 :].min() > curve.as_low > curve.start
    picture = draw_rates(curve, 0.0003)
    assert f"rate to compare with yours: {decimal(curve)}" in picture
    assert "noise of the loss at the lowest rates" in picture


@pytest.mark.parametrize("seed", range(20))
def test_a_fall_of_twice_the_noise_of_a_batch_is_seen(seed: int) -> None:
    rates = np.geomspace(1e-6, 1, 81)
    fall = -0.24 * np.clip(np.log10(rates / 1e-4), 0, 1)
    too_high = np.maximum(0, np.log10(rates / 2e-2))
    losses = 0.9 + fall + too_high**2 + np.random.default_rng(seed).normal(0, 0.12, 81)
    curve = RateCurve("finetune", rates, losses)
    assert curve.falls
    assert 3e-4 <= curve.suggestion <= 6e-3


def test_the_rate_rises_until_the_loss_does(hyperparameters, data, tmp_path, caplog) -> None:
    """With class-balanced weights, which come with the images."""
    caplog.set_level(logging.INFO)
    weights = np.full(3, 1e-3, np.float32)
    data = replace(data, balance=replace(data.balance, class_balanced_weights=weights))
    weighted = hyperparameters.with_overrides({"train.loss": "class_balanced_focal"})
    curve = find_rate(weighted, data, None, tmp_path, "finetune")
    rising = np.geomspace(LOWEST, HIGHEST, UPDATES)[: len(curve.rates)]
    np.testing.assert_allclose(curve.rates, rising)
    assert len(curve.rates) == len(curve.losses)
    assert f" of {UPDATES}" in caplog.text  # the progress
    assert np.isfinite(curve.losses).all()
    assert 0 < curve.losses[0] < 0.01
    assert curve.smoothed.min() < 0.9 * curve.smoothed[0]  # 36 images of three colours


def test_a_training_that_mixes_images_and_makes_a_soup_has_a_rate_too(
    hyperparameters, data, tmp_path
) -> None:
    model, file = hyperparameters.model, tmp_path / "start.keras"
    size = data.train.inputs.shape[1]
    write_classifier(file, build_classifier(model, data.class_names, size, "squash"))
    overrides = {"model.weights": "data/weights/start.keras", "train.average.soup": 2}
    mixing = hyperparameters.with_overrides(overrides | {"train.mixup": 0.2, "train.cutmix": 1.0})
    curve = find_rate(mixing, data, file, tmp_path, "finetune")
    assert curve.rates[0] == LOWEST
    assert np.isfinite(curve.losses).all()


def test_the_weights_of_the_loss_count(hyperparameters, data, tmp_path, monkeypatch) -> None:
    balance = replace(data.balance, class_balanced_weights=np.array([2, 1, 0.5], np.float32))

    def stop(stream, workers):
        raise StopIteration(stream.balance.class_weights.tolist())

    monkeypatch.setattr(range_test, "Feed", stop)
    focal = hyperparameters.with_overrides({"train.loss": "class_balanced_focal"})
    with pytest.raises(StopIteration, match=r"\[2\.0, 1\.0, 0\.5\]"):
        find_rate(focal, replace(data, balance=balance), None, tmp_path, "finetune")


class Stopped(Exception):  # noqa: N818 - the test ends here, before a network is compiled
    pass


@pytest.mark.parametrize("pretrained", [True, False])
def test_all_blocks_are_trained_as_in_the_last_stage(
    pretrained, hyperparameters, data, tmp_path, monkeypatch
) -> None:
    asked = hyperparameters.with_overrides(
        {
            "model.weights": "data/weights/some.keras" if pretrained else "none",
            "train.finetune.stages": 2,
            "train.finetune.schedule": "plateau",
            "train.accumulate": 3,
        }
    )
    classifier = build_classifier(hyperparameters.model, data.class_names, data.size, data.resize)

    def stop(*given):
        raise Stopped(given)

    monkeypatch.setattr(range_test, "_compile", stop)
    with pytest.raises(Stopped) as raised:
        range_test._measure(classifier, asked, data, tmp_path, "finetune")
    [(phase, *_, batches)] = raised.value.args
    assert (phase.name, phase.stages, phase.schedule) == ("finetune", 1, "cosine")
    assert batches == 3 * UPDATES
    assert classifier.backbone.get_layer("block1_norm").trainable != pretrained


def test_before_the_phase_finetune_the_head_is_trained(
    hyperparameters, data, tmp_path, monkeypatch
) -> None:
    def stop(*given):
        raise Stopped(given)

    monkeypatch.setattr(range_test, "train_classifier", stop)
    asked = hyperparameters.with_overrides({"model.weights": "data/weights/some.keras"})
    with pytest.raises(Stopped) as raised:
        find_rate(asked, data, tmp_path / "some.keras", tmp_path, "finetune")
    [(only_head, *_)] = raised.value.args
    assert only_head.train.head == asked.train.head
    assert only_head.train.finetune.epochs == 0


def test_the_test_is_over_when_the_averaged_loss_is_far_above_its_lowest() -> None:
    falling, rising = [1.0] * 9 + [0.1] * 9, [0.4, 0.9, 1.2, 1.5]
    assert not is_over(falling + rising[:-2])
    assert is_over([*falling, *rising])
    assert not is_over([0.1, 2.0])
    assert is_over([1.0, float("nan")])


def test_the_network_is_trained_with_the_rates_of_the_curve(hyperparameters, data) -> None:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    phase = Phase("finetune", network, data.train, data.val, 1, 0.1, 0.0, None, False)
    model, rates = _compile(phase, hyperparameters, data, 80)
    used = [float(model.optimizer._learning_rate(step)) for step in range(80)]
    np.testing.assert_allclose(used, rates, rtol=1e-4)
    assert rates[-1] == pytest.approx(HIGHEST)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "head",
            {},
            r"no phase `head`, because the backbone is not trained; choose the phase finetune, or "
            r"model\.weights that are trained\. Received: model\.weights: none$",
        ),
        (
            "finetune",
            {"model.weights": "imagenet", "train.finetune.epochs": 0},
            r"no phase `finetune`; choose the other phase, or raise train\.finetune\.epochs",
        ),
        ("finetune", {"train.accumulate": 3}, r"^train\.accumulate: .* write at most 2, "),
    ],
)
def test_what_the_training_does_not_have_is_refused(
    name, overrides, message, hyperparameters, data, tmp_path
) -> None:
    with pytest.raises(UserError, match=message):
        find_rate(hyperparameters.with_overrides(overrides), data, None, tmp_path, name)
