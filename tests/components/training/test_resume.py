"""A training that is stopped after any epoch ends with the bytes of one that was not stopped."""

import logging
from dataclasses import dataclass

import keras
import pytest

from components.model.classifier import build_classifier
from components.model.model_file import write_classifier
from components.training import training
from components.training.best_epoch import BestEpoch
from components.training.checkpoints import Checkpoints
from components.training.training import train_classifier
from components.training.training_state import TrainingState
from tests.components.training.conftest import without_speed


class StoppedError(Exception):
    """Stands for a kill right after an epoch."""


@dataclass(frozen=True)
class Ended:
    """What a training leaves."""

    model: bytes
    history: tuple[dict, ...]


@pytest.fixture
def train_here(data, tmp_path):
    """Train with checkpoints, from a file of weights, and stop after `stop` epochs if it is set."""

    def train_here(hyperparameters, weights, folder="here", stop=0):
        rows = []

        def on_epoch(row):
            rows.append(row)
            if len(rows) == stop:
                raise StoppedError

        checkpoints = Checkpoints(tmp_path / folder, {"seed": "7"})
        trained = train_classifier(hyperparameters, data, weights, on_epoch, tmp_path, checkpoints)
        assert tuple(map(without_speed, rows)) == trained.history
        write_classifier(tmp_path / "model.keras", trained.classifier)
        return Ended((tmp_path / "model.keras").read_bytes(), trained.history)

    return train_here


@pytest.fixture(scope="module")
def start(hyperparameters, data, tmp_path_factory):
    """A file of weights to start from, so that there is a phase `head`; they need no training."""
    file = tmp_path_factory.mktemp("start") / "start.keras"
    keras.utils.set_random_seed(1)
    write_classifier(file, build_classifier(hyperparameters.model, data.class_names, 8, "squash"))
    return file


@pytest.fixture
def two_phases(hyperparameters):
    return hyperparameters.with_overrides(
        {
            "model.weights": "data/weights/start.keras",
            "model.dropout": 0.5,
            "train.head.epochs": 2,
            "train.head.views": 2,
            "train.finetune.epochs": 2,
            "train.mixup": 0.4,
            "train.mix_until": 0.5,  # one of two epochs
        }
    )


@pytest.fixture
def head_only(two_phases):
    return two_phases.with_overrides({"train.finetune.epochs": 0, "train.mixup": 0.0})


# Each line changes something else that a checkpoint has to have.
RECIPES = [
    {
        "train.optimizer": "sgd",
        "train.finetune.schedule": "plateau",
        "train.finetune.layer_decay": 0.8,
        "train.finetune.stages": 2,
        "train.average.ema": 0.9,
        "train.accumulate": 2,
        "train.early_stopping.patience": 2,
        "train.early_stopping.smoothing": 2,
        "train.early_stopping.monitor": "val_macro_f1",
    },
    {"train.finetune.schedule": "step", "train.average.soup": 2},
    {"train.optimizer": "rmsprop", "train.finetune.schedule": "one_cycle"},
    {"train.optimizer": "lion", "train.clip_norm": 0.1},
]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: next(iter(recipe.values())))
def test_every_recipe_goes_on_as_if_it_had_not_been_stopped(recipe, two_phases, start, train_here):
    recipe = two_phases.with_overrides({**recipe, "train.finetune.epochs": 3})
    undisturbed = train_here(recipe, start, "undisturbed")
    for stop in range(1, len(undisturbed.history) + 1):
        with pytest.raises(StoppedError):
            train_here(recipe, start, stop=stop)
    assert train_here(recipe, start) == undisturbed


@pytest.fixture
def measured(monkeypatch):
    """Replace what validation measures, in the order of a list: a loss, or an error to raise."""
    measure = training.measure

    def script(*losses):
        values = iter(losses)

        def scripted(*arguments):
            value = next(values)
            if value is StoppedError:
                raise value
            return measure(*arguments) | {"val_loss": value}

        monkeypatch.setattr(training, "measure", scripted)

    return script


def test_a_training_stopped_after_every_epoch_ends_as_an_undisturbed_one(
    two_phases, start, train_here, caplog
):
    undisturbed = train_here(two_phases, start, "undisturbed")
    caplog.set_level(logging.INFO)
    for stop in (1, 2, 3, 4):
        with pytest.raises(StoppedError):
            train_here(two_phases, start, stop=stop)
    assert train_here(two_phases, start) == undisturbed
    places = [("head", 1), ("head", 2), ("finetune", 1), ("finetune", 2)]
    assert [text for text in caplog.messages if "unfinished training" in text] == [
        f"an unfinished training goes on after epoch {epoch} of the phase `{phase}`, with its last "
        "checkpoint"
        for phase, epoch in places
    ]


@pytest.mark.slow
def test_after_a_loss_that_is_no_number_training_goes_back_with_a_tenth_of_the_rate(
    head_only, start, train_here, measured, caplog
):
    measured(0.9, float("nan"), 0.8)
    undisturbed = train_here(head_only, start, "undisturbed")
    assert [row["rate_cuts"] for row in undisturbed.history] == [0, 1]
    assert [row["epoch"] for row in undisturbed.history] == [1, 2]
    assert "goes back to the end of epoch 1, and goes on with a tenth" in caplog.text

    measured(0.9, float("nan"), StoppedError)
    with pytest.raises(StoppedError):
        train_here(head_only, start)
    measured(0.8)
    assert train_here(head_only, start) == undisturbed


def test_a_checkpoint_has_what_a_phase_registers(data, hyperparameters, tmp_path):
    keras.utils.set_random_seed(1)
    model = build_classifier(hyperparameters.model, data.class_names, 8, "squash").model

    def state():
        best = BestEpoch(model, hyperparameters.train.early_stopping)
        return TrainingState(model, best, Checkpoints(tmp_path, {}), lambda row: None)

    registered = keras.Variable(1.0)
    first = state()
    first.begin("head")
    first.continue_with([registered])
    registered.assign(5.0)
    assert first.back_off()  # in the first epoch of the phase
    first.continue_with([registered])
    assert float(registered) == 1.0
    registered.assign(2.0)
    first.end_epoch({"phase": "head", "epoch": 1}, ended=False, speed={})

    registered.assign(3.0)
    second = state()
    second.resume()
    second.begin("head")
    second.continue_with([registered])
    assert float(registered) == 2.0
