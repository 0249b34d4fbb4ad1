"""A search space → all its points, for the sampler `grid`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from components.params.search_rungs import GRID_LIMIT
from components.search.points import Chooser, Define, Point


def shuffled_grid(define: Define, seed: int) -> list[Point]:
    """Return all points of the search space in an order that depends on `seed` only.

    The order is shuffled, so that a budget below the size of the grid does not leave out all values
    but the first ones of a hyperparameter. Raises ValueError if a range of floats has no steps, or
    if there are more points than GRID_LIMIT; params.yaml is checked before, see `check_rungs`.
    """
    import numpy as np

    points = list(itertools.islice(_grid_points(define), GRID_LIMIT + 1))
    if len(points) > GRID_LIMIT:
        raise ValueError(f"a grid has at most {GRID_LIMIT:,} points")
    order = np.random.default_rng(seed).permutation(len(points))
    return [points[i] for i in order]


def _grid_points(define: Define) -> Iterator[Point]:
    """Yield the points of a space, also of one in which a choice depends on another choice.

    The indexes of the chosen values are read like the digits of a counter. The last choice counts
    up first. If it has no further value, it is cut off, and the one before it counts up:

        [adam, beta .9] → [adam, beta .99] → [sgd]
    """
    counter: list[int] = []
    while True:
        sizes: list[int] = []

        def choose(name: str, distribution: Any, sizes: list[int] = sizes) -> Any:
            candidates = _candidates(name, distribution)
            place = len(sizes)
            sizes.append(len(candidates))
            if place == len(counter):
                counter.append(0)
            return candidates[counter[place]]

        trial = Chooser(choose)
        yield Point(define(trial), trial.distributions)
        while counter and counter[-1] + 1 == sizes[len(counter) - 1]:
            counter.pop()
        if not counter:
            return
        counter[-1] += 1


def _candidates(name: str, distribution: Any) -> Sequence[Any]:
    import optuna

    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return distribution.choices
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is None:
        raise ValueError(f"a grid needs choices or a step. Received: {name}, {low} to {high}")
    count = round((high - low) / step) + 1
    if count > GRID_LIMIT:
        raise ValueError(f"a grid has at most {GRID_LIMIT:,} points. Received: {name}, {count}")
    # Optuna has lowered `high` to low + a whole number of steps.
    values = [low + i * step for i in range(count)]
    # In floats, 0.1 + 2 * 0.1 is above 0.3.
    return [min(value, high) for value in values]
