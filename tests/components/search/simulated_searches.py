"""Searches whose true accuracies are known, to measure how often a rule chooses a worse trial.

The model: a trial has a true accuracy, the mean over all trainings with its hyperparameters. The
accuracy of one training differs from it by the images of the folds' pool (standard deviation POOL,
the same for all folds) and by its seed (SEED). Each val split has its own images, some more
difficult than others, and all trials meet the same images: two trials with the same accuracy are
wrong on partly the same ones (CORRELATION of the normal values behind right and wrong).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

POOL, SEED, CORRELATION = 0.002, 0.003, 0.5
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedSearch:
    """found, confirmed: trial → accuracy on val, and on each fold. truth: [trials], accuracies."""

    found: dict[int, float]
    confirmed: dict[int, list[float]]
    truth: Floats
    val_to_train: float = 0.2

    def true_gain(self, trial: int) -> float:
        return float(self.truth[trial] - self.truth[0])

    @property
    def best_gain(self) -> float:
        return float(self.truth.max() - self.truth[0])


def simulate(
    kind: str,
    trials: int,
    folds: int,
    candidates: int,
    searches: int,
    accuracy: float = 0.97,
    images: int = 300,
) -> Iterator[SimulatedSearch]:
    """Yield searches. candidates: how many trials are confirmed beside trial 0.

    accuracy: the true accuracy of trial 0. images: of each val split.
    """
    generator = np.random.default_rng([trials, folds, candidates, images])
    for _ in range(searches):
        truth = true_accuracies(kind, trials, accuracy, generator)
        found = measure(trained(truth, POOL, generator), images, generator)
        others = 1 + np.argsort(-found[1:], kind="stable")[:candidates]
        confirmed = np.append(0, others)
        pool = trained(truth[confirmed], POOL, generator, seed=0.0)
        values = [measure(trained(pool, 0.0, generator), images, generator) for _ in range(folds)]
        yield SimulatedSearch(
            dict(enumerate(found.tolist())),
            dict(zip(confirmed.tolist(), np.transpose(values).tolist(), strict=True)),
            truth,
        )


def true_accuracies(
    kind: str, trials: int, accuracy: float, generator: np.random.Generator
) -> Floats:
    normal = generator.normal(size=trials)
    worse = -0.005 - 0.01 * abs(normal)
    gains = {
        "about equal": 0.003 * normal,
        "none better": -0.01 * abs(normal),
        "some better": np.where(generator.random(trials) < 0.15, 0.01 + 0.003 * normal, worse),
        "most better": 0.005 + 0.008 * normal,
    }[kind]
    gains[0] = 0.0
    return np.minimum(accuracy + gains, 0.995)


def trained(
    accuracies: Floats, pool: float, generator: np.random.Generator, seed: float = SEED
) -> Floats:
    """Return the accuracies of one training each."""
    noise = np.hypot(pool, seed) * generator.normal(size=len(accuracies))
    return np.clip(accuracies + noise, 0.3, 0.999)


def measure(accuracies: Floats, images: int, generator: np.random.Generator) -> Floats:
    """Return the share of right images of each trial, on the same images."""
    difficulty = generator.normal(size=images)
    own = generator.normal(size=(len(accuracies), images))
    value = CORRELATION**0.5 * difficulty + (1 - CORRELATION) ** 0.5 * own
    return (value < norm.ppf(accuracies)[:, None]).mean(axis=1)
