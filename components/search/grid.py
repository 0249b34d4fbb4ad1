"""A search space → all its points, for the sampler `grid`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from components.errors import UserError
from components.search.points import Chooser, Define, Point

# A grid with more points is a mistake: no search tries them all.
GRID_LIMIT = 10_000


def shuffled_grid(define: Define, seed: int) -> list[Point]:
    """Return all points of the search space in an order that depends on `seed` only.

    The order is shuffled, so that a budget below the size of the grid does not leave out all values
    but the first ones of a hyperparameter. Raises UserError if a range has no steps, or if there
    are more points than GRID_LIMIT.
    """
    import numpy as np

    points = list(itertools.islice(_grid_points(define), GRID_LIMIT + 1))
    if len(points) > GRID_LIMIT:
        raise UserError(
            "search.sampler: the space has too many points for a grid; use tpe or random, or fewer "
            f"choices. Received: grid, and more than {GRID_LIMIT:,} points"
        )
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
        raise UserError(
            f"search.space.{name}: a grid needs choices or a step, because a range of floats has "
            f"no end of values; add one, or use another sampler. Received: {low} to {high}"
        )
    # Optuna has lowered `high` to low + a whole number of steps.
    values = [low + i * step for i in range(round((high - low) / step) + 1)]
    # In floats, 0.1 + 2 * 0.1 is above 0.3.
    return [min(value, high) for value in values]
