"""The weights after the last epochs → a greedy soup: their mean, as far as it helps on val.

Method: model soups, recipe 1 (Wortsman et al., 2022). The epochs are tried from the best to the
worst. An epoch stays in the soup if the mean of the weights, with it, is not worse on val.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from components.training.best_epoch import BestEpoch, Row, Weights

log = logging.getLogger(__name__)

# Takes weights. Returns them, with new statistics of batch normalisation, and their metrics on val.
Measure = Callable[[Weights], tuple[Weights, Row]]


def add_soup(
    best: BestEpoch, ingredients: Sequence[Weights], rows: Sequence[Row], measure: Measure
) -> None:
    """Make a greedy soup. If it is at least as good as the best epoch, it replaces its weights.

    best: the best epoch. Its row gets the metrics of the soup on val. ingredients: the weights
    after the last epochs. rows: the rows of these epochs. measure: measures weights on val.
    """
    order = sorted(range(len(rows)), key=lambda place: best.metric(rows[place]), reverse=True)
    chosen: list[int] = []
    value, weights, metrics = -np.inf, best.weights, best.row
    for place in order:
        tried, measured = measure(_mean([ingredients[other] for other in [*chosen, place]]))
        if best.metric(measured) >= value:
            chosen.append(place)
            value, weights, metrics = best.metric(measured), tried, measured
    epochs = ", ".join(str(rows[place]["epoch"]) for place in sorted(chosen))
    name = best.rule.monitor
    compared = f"{name} {metrics[name]:.4g}; the best epoch has {best.row[name]:.4g}"
    if len(chosen) > 1 and value >= best.metric(best.row):
        log.info(f"the soup of the epochs {epochs} has {compared}; the model gets its weights")
        best.weights, best.row = weights, best.row | metrics
    else:
        log.info(f"no soup is better: the best one, of epoch {epochs}, has {compared}")


def _mean(members: Sequence[Weights]) -> Weights:
    """Return the mean of each array over the members."""
    return [
        np.mean(arrays, axis=0, dtype=np.float64).astype(arrays[0].dtype)
        for arrays in zip(*members, strict=True)
    ]
