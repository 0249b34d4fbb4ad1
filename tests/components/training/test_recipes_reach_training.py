"""What params.yaml says about the phase `finetune` reaches the training of the network."""

import keras
import numpy as np
import pytest

from components.model.classifier import build_classifier
from components.params.train import FineTune
from components.training import training
from components.training.augmentation import build_augmentation
from components.training.averaging import refresh_statistics
from components.training.batches import Stream
from components.training.machines import ALONE
from components.training.phases import phases
from components.training.training import train_classifier

REACHED = {
    "epochs": 7,
    "learning_rate": 0.02,
    "stages": 2,
    "layer_decay": 0.5,
    "schedule": "step",
    "warmup": 0.3,
}


@pytest.fixture(scope="module")
def phase_of(hyperparameters, data, tmp_path_factory):
    """Return the function that makes the phase `finetune` of other hyperparameters."""
    classifier = build_classifier(hyperparameters.model, data.class_names, 8, "squash")
    cache = tmp_path_factory.mktemp("features")

    def phase_of(overrides):
        train = hyperparameters.with_overrides(overrides).train
        [phase] = phases(classifier, data, train, False, cache, ())
        return phase

    return phase_of


@pytest.mark.parametrize(("name", "value"), REACHED.items())
def test_a_value_of_finetune_reaches_the_phase(name, value, phase_of):
    assert getattr(phase_of({}), name) != value
    assert getattr(phase_of({f"train.finetune.{name}": value}), name) == value


def test_every_value_of_finetune_has_a_test_here(phase_of):
    assert set(FineTune.model_fields) == {*REACHED, "unfreeze"}
    assert len(phase_of({"train.finetune.unfreeze": {"last_blocks": 1}}).blocks) == 1


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_images_are_mixed_in_training_until_the_last_epochs(name, phase_of, hyperparameters, data):
    mixing = {"train.finetune.epochs": 2, "train.mix_until": 0.5, f"train.{name}": 0.4}
    train = hyperparameters.with_overrides(mixing).train
    stream = training._build_stream(phase_of(mixing), data.balance, train, ALONE)
    labels = [stream.batch(number)[1] for number in range(4)]  # 24 images, 12 in a batch
    shared = [bool(np.any((batch > 0) & (batch < 1))) for batch in labels]
    assert shared == [True, True, False, False]


@pytest.fixture(scope="module")
def stuck(hyperparameters, data, tmp_path_factory):
    """A training whose val_loss is as scripted: five epochs, and then two tries of a soup.

    Returns the training, and the weights of each measurement.
    """
    losses, seen = iter([1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.5]), []

    def measure(model, val, loss):
        seen.append([weight.numpy() for weight in model.trainable_variables])
        return {"val_loss": next(losses)}

    recipe = {
        "train.finetune.epochs": 5,
        "train.finetune.schedule": "plateau",
        "train.finetune.warmup": 0.0,
        "train.early_stopping.patience": 60,
        "train.average.soup": 2,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "measure", measure)
        folder = tmp_path_factory.mktemp("stuck")
        changed = hyperparameters.with_overrides(recipe)
        return train_classifier(changed, data, None, lambda row: None, folder), seen


def test_on_a_plateau_the_rate_falls_with_a_patience_that_ends_no_phase(stuck, hyperparameters):
    rate = hyperparameters.train.finetune.learning_rate
    rates = [row["learning_rate"] for row in stuck[0].history]
    assert rates == pytest.approx([rate, rate, rate / 10, rate / 100, rate / 1000], rel=1e-5)


def test_a_soup_of_the_last_epochs_becomes_the_model(stuck):
    trained, (*_, fourth, fifth, _, soup) = stuck
    assert trained.best["val_loss"] == 0.5
    for kept, tried, one, other in zip(
        trained.classifier.logits_model.trainable_variables, soup, fourth, fifth, strict=True
    ):
        np.testing.assert_array_equal(kept, tried)
        np.testing.assert_allclose(tried, (one + other) / 2, atol=1e-6)


def test_the_averaged_model_has_statistics_of_its_own(hyperparameters, data, tmp_path):
    ema = hyperparameters.with_overrides({"train.average.ema": 0.9, "train.finetune.epochs": 1})
    network = train_classifier(ema, data, None, lambda row: None, tmp_path).classifier.logits_model
    train, found = ema.train, [keras.ops.convert_to_numpy(weight) for weight in network.weights]
    policy = build_augmentation(train.augmentation)
    stream = Stream(data.train, data.balance, train.batch_size, train.seed, policy)
    refresh_statistics(network, stream, steps=2)
    for weight, computed in zip(found, network.weights, strict=True):
        np.testing.assert_allclose(weight, computed, rtol=1e-4, atol=1e-6)
