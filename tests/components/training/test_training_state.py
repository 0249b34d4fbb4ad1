"""What a training takes over from a checkpoint: with a network of one number."""

import numpy as np
import pytest

from components.model.backend import load_keras
from components.params.train import EarlyStopping
from components.training import training_state
from components.training.best_epoch import BestEpoch
from components.training.checkpoints import Checkpoints
from components.training.training_state import RATE_CUTS, TrainingState


class Network:
    """Stands for a network: one number, which an epoch sets."""

    def __init__(self):
        load_keras()
        import keras

        self.variables = [keras.Variable(0.0, name="number")]

    @property
    def number(self):
        return float(self.variables[0])

    def get_weights(self):
        return [np.float32(self.number)]

    def set_weights(self, weights):
        self.variables[0].assign(weights[0])


@pytest.fixture
def begin(tmp_path):
    """A function that begins a training, or lets it go on after a stop."""

    def begin(checkpoints=True):
        network, seen = Network(), []
        best = BestEpoch(network, EarlyStopping(monitor="val_loss", patience=9, smoothing=1))
        store = Checkpoints(tmp_path, {"seed": "1"}) if checkpoints else None
        state = TrainingState(network, best, store, seen.append)
        state.resume()
        return state, seen

    return begin


def train(state, phase, *losses, ended=False):
    """Train one epoch of the phase for each loss; the loss becomes the number of the network."""
    state.begin(phase)
    state.continue_with([])
    for number, loss in enumerate(losses, state.epoch + 1):
        state.model.set_weights([loss])
        row = {"phase": phase, "epoch": number, "val_loss": loss}
        state.best.update(row)
        over = ended and loss is losses[-1]
        state.end_epoch(row, over, {})


def test_all_of_the_state_comes_back_after_a_stop(begin, monkeypatch):
    monkeypatch.setattr(training_state, "INTERVAL_S", 0.0)
    first, seen = begin()
    train(first, "head", 0.5, 0.75, ended=True)
    train(first, "finetune", 0.625, 0.25, 0.875)
    assert len(seen) == 5

    second, again = begin()
    assert again == seen
    assert second.finished_phases() == {"head"}
    assert (second.phase, second.epoch, second.ended) == ("finetune", 3, False)
    assert second.history == first.history
    assert second.model.number == 0.875
    best = second.best
    assert (best.value, best.row["epoch"], best.waited) == (-0.25, 2, 1)
    best.restore()
    assert second.model.number == 0.25


def test_after_a_stop_between_two_phases_the_network_is_that_of_the_best_epoch(begin):
    first, _ = begin()
    train(first, "head", 0.5, 0.75, ended=True)
    second, _ = begin()
    assert second.finished_phases() == {"head"}
    assert second.model.number == 0.5


def test_a_checkpoint_is_written_at_most_once_in_an_interval_and_at_the_end_of_a_phase(
    begin, monkeypatch
):
    monkeypatch.setattr(training_state, "INTERVAL_S", 3600.0)
    state, _ = begin()
    train(state, "head", 0.75, 0.5)
    assert begin()[0].epoch == 1
    train(state, "head", 0.25, ended=True)
    assert begin()[0].epoch == 3


def test_a_later_epoch_changes_no_earlier_state(begin):
    state, _ = begin()
    train(state, "head", 0.5)
    earlier = state._last
    train(state, "head", 0.4)
    assert len(earlier.facts["history"]) == 1
    assert float(earlier.arrays["model"][0]) == 0.5


def test_a_phase_goes_back_so_often_and_the_next_phase_so_often_again(begin):
    state, seen = begin()
    for phase in ("head", "finetune"):
        train(state, phase, 0.5)
        for cuts in range(1, RATE_CUTS + 1):
            state.model.set_weights([7.0])
            assert state.back_off()
            assert state.model.number == 0.5
            assert (state.rate_cuts, state.epoch) == (cuts, 1)
            resumed, _ = begin()
            assert (resumed.phase, resumed.rate_cuts, resumed.epoch) == (phase, cuts, 1)
        assert not state.back_off()
        assert state.rate_cuts == RATE_CUTS
    assert len(seen) == 2


def test_a_phase_whose_first_epoch_fails_goes_back_to_its_start(begin):
    state, _ = begin()
    train(state, "head", 0.5, 0.75, ended=True)
    state.best.restore()
    state.begin("finetune")
    assert state.best.waited == 0
    state.continue_with([])
    state.model.set_weights([7.0])
    assert state.back_off()
    assert state.model.number == 0.5
    resumed, _ = begin()
    assert (resumed.phase, resumed.epoch, resumed.rate_cuts) == ("finetune", 0, 1)
    assert resumed.finished_phases() == {"head"}


def test_a_trial_of_a_search_goes_back_never(begin):
    state, _ = begin(checkpoints=False)
    train(state, "head", 0.5)
    assert not state.back_off()
