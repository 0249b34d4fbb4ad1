"""Which epoch is best, and when a phase stops: with numbers instead of a training."""

import pytest

from components.params.train import EarlyStopping
from components.training.best_epoch import BestEpoch


class Counter:
    """Stands for a network: its weights are the number of its epoch."""

    epoch = 0

    def get_weights(self) -> list:
        return [self.epoch]

    def set_weights(self, weights: list) -> None:
        [self.epoch] = weights


def best_epoch(monitor: str = "val_loss", patience: int = 2, smoothing: int = 1) -> BestEpoch:
    rule = EarlyStopping(monitor=monitor, patience=patience, smoothing=smoothing)
    return BestEpoch(Counter(), rule)


def train(best: BestEpoch, *values: float) -> list[bool]:
    """Return after each epoch whether the phase must stop."""
    stops = []
    for value in values:
        best.model.epoch += 1
        stops.append(best.update({best.rule.monitor: value, "epoch": best.model.epoch}))
    return stops


@pytest.mark.parametrize(
    ("monitor", "values", "expected"),
    [
        ("val_loss", (0.9, 0.5, 0.7), 2),
        ("val_accuracy", (0.9, 0.5, 0.7), 1),
        ("val_macro_f1", (0.9, 0.5, 0.95), 3),
    ],
)
def test_the_best_loss_is_the_lowest_and_the_best_accuracy_the_highest(monitor, values, expected):
    best = best_epoch(monitor)
    train(best, *values)
    assert (best.row["epoch"], best.weights) == (expected, [expected])
    best.restore()
    assert best.model.epoch == expected


def test_a_phase_stops_after_so_many_epochs_in_a_row_without_improvement():
    best = best_epoch(patience=2)
    assert train(best, 0.5, 0.5, 0.4, 0.6, 0.4) == [False, False, False, False, True]
    assert best.row["epoch"] == 3, "an equal epoch is no improvement"


def test_the_next_phase_waits_anew_and_may_begin_worse_than_the_phase_before():
    best = best_epoch(patience=2)
    train(best, 0.5, 0.6)
    best.new_phase()
    assert train(best, 0.9, 0.8, 0.7, 0.6) == [False] * 4
    assert best.row["epoch"] == 1
    assert train(best, 0.6, 0.6) == [False, True]
    best.new_phase()
    train(best, 0.9, 0.4)
    assert best.row["epoch"] == 10


def test_with_smoothing_one_lucky_epoch_is_not_the_best():
    values = (0.9, 0.8, 0.3, 0.8, 0.5, 0.5, 0.5)
    lucky, smoothed = best_epoch(patience=9), best_epoch(patience=9, smoothing=3)
    train(lucky, *values)
    train(smoothed, *values)
    assert (lucky.row["epoch"], smoothed.row["epoch"]) == (3, 7)
    assert smoothed.value == pytest.approx(-0.5)


def test_the_mean_begins_again_with_a_phase():
    best = best_epoch(patience=9, smoothing=3)
    train(best, 0.6, 0.6)
    best.new_phase()
    train(best, 0.5)
    assert best.row["epoch"] == 3
    assert best.value == -0.5


def test_without_an_epoch_there_is_nothing_to_restore():
    best = best_epoch()
    best.restore()
    assert best.model.epoch == 0
