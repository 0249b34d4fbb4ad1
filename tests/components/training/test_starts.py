"""Heads that are trained one after the other, on a backbone that is built once."""

import keras
import numpy as np
import pytest

from components.model.classifier import build_classifier
from components.model.model_file import write_classifier
from components.training import starts
from components.training.starts import MOST_BACKBONES, Backbones, start_classifier
from components.training.training import train_classifier

HEADS = [
    {},
    {"model.hidden": (8,), "model.dropout": 0.4, "train.optimizer": "sgd"},
    {"train.precision": "mixed", "train.label_smoothing": 0.2},
    {},
    {"train.seed": 8},
    {"model.pooling": "gem"},
    {"model.hidden": (8,), "model.batch_norm": True},
]


@pytest.fixture
def heads(hyperparameters):
    """The hyperparameters of trainings of a head, which are those of trials of a first rung."""
    only = {
        "model.weights": "data/weights/start.keras",
        "train.finetune.epochs": 0,
        "train.head.epochs": 3,
    }
    return [hyperparameters.with_overrides(only | changes) for changes in HEADS]


@pytest.fixture
def built(monkeypatch):
    """How often a backbone was built."""
    calls, build = [], starts.build_backbone

    def counted(*arguments):
        calls.append(arguments)
        return build(*arguments)

    monkeypatch.setattr(starts, "build_backbone", counted)
    return calls


@pytest.fixture(params=["random", pytest.param("file", marks=pytest.mark.slow)])
def weights(request, hyperparameters, data, tmp_path):
    """The weights of the backbones: random ones, or those of a trained classifier."""
    if request.param == "random":
        return None
    keras.utils.set_random_seed(3)
    classifier = build_classifier(hyperparameters.model, data.class_names, 8, "squash")
    write_classifier(tmp_path / "start.keras", classifier)
    return tmp_path / "start.keras"


@pytest.mark.parametrize(
    ("count", "backbones"),
    [(2, 1), pytest.param(len(HEADS), 3, marks=pytest.mark.slow)],  # another seed, another pooling
)
def test_a_head_has_the_same_bytes_on_a_backbone_that_others_have_used(
    heads, data, weights, tmp_path, count, backbones
):
    def train(hyperparameters, backbones):
        folder = tmp_path / "features"
        return train_classifier(
            hyperparameters, data, weights, lambda row: None, folder, backbones=backbones
        )

    shared = Backbones()
    for hyperparameters in heads[:count]:
        alone, trained = train(hyperparameters, None), train(hyperparameters, shared)
        assert trained.history == alone.history
        assert len(trained.history) == 3
        ours, theirs = trained.classifier.model, alone.classifier.model
        for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, other)
    assert len(shared.built) == backbones


def test_a_training_of_the_backbone_gets_one_of_its_own(hyperparameters, data):
    backbones = Backbones()
    start_classifier(hyperparameters, data, None, backbones)
    assert backbones.built == {}


def test_only_the_last_backbones_are_kept(heads, data, built):
    backbones = Backbones()
    for seed in range(MOST_BACKBONES + 1):
        start_classifier(heads[0].with_overrides({"train.seed": seed}), data, None, backbones)
    assert [key[-1] for key in backbones.built] == list(range(1, MOST_BACKBONES + 1))
    start_classifier(heads[0].with_overrides({"train.seed": 1}), data, None, backbones)
    assert len(built) == MOST_BACKBONES + 1
    assert [key[-1] for key in backbones.built] == [*range(2, MOST_BACKBONES + 1), 1]
