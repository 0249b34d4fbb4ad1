"""A greedy soup of networks that are one number each: the nearer to 5, the better."""

import logging

import numpy as np
import pytest

from components.params.train import EarlyStopping
from components.training.best_epoch import BestEpoch
from components.training.soup import add_soup

RULE = EarlyStopping(monitor="val_loss", patience=9, smoothing=1)
FRESH = np.array([7.0])  # the statistics of batch normalisation, computed again by `measure`


def loss(number: float) -> dict:
    return {"val_loss": abs(number - 5)}


def cook(numbers: list[float], earlier: float = 50.0) -> BestEpoch:
    """Return the best after a soup of these epochs; before them there was an epoch `earlier`."""
    rows = [{"epoch": epoch, **loss(number)} for epoch, number in enumerate(numbers, 1)]
    candidates = [({"epoch": 0, **loss(earlier)}, earlier), *zip(rows, numbers, strict=True)]
    row, number = min(candidates, key=lambda candidate: candidate[0]["val_loss"])
    best = BestEpoch(None, RULE, row=row, weights=[np.array([number])])
    ingredients = [[np.array([number]), np.zeros(1)] for number in numbers]

    def measure(weights: list) -> tuple[list, dict]:
        return [weights[0], FRESH], loss(float(weights[0][0]))

    add_soup(best, ingredients, rows, measure)
    return best


def test_an_epoch_stays_in_the_soup_only_if_it_does_not_make_it_worse(caplog) -> None:
    caplog.set_level(logging.INFO)
    best = cook([9.0, 4.0, 6.5])
    assert best.weights[0] == pytest.approx((4 + 6.5) / 2)  # with 9 it would be 6.5
    assert best.weights[1] is FRESH
    assert best.row == {"epoch": 2, "val_loss": pytest.approx(0.25)}
    assert "the soup of the epochs 2, 3 has val_loss 0.25; the best epoch has 1" in caplog.text


def test_without_a_better_mean_the_best_epoch_stays(caplog) -> None:
    caplog.set_level(logging.INFO)
    assert cook([5.0, 7.0, 8.0]).weights[0] == 5.0
    assert cook([2.0, 9.0], earlier=5.1).weights[0] == 5.1
    assert caplog.text.count("no soup is better") == 2


def test_an_equal_mean_stays_in_the_soup_and_an_equal_soup_is_taken() -> None:
    assert cook([4.0, 8.0]).weights[0] == 6.0
