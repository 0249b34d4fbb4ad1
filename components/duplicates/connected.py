"""Pairs of linked things → sets of things that are linked directly or through other things."""

import numpy as np
from numpy.typing import NDArray


def connected_sets(
    count: int, first: NDArray[np.integer], second: NDArray[np.integer]
) -> NDArray[np.int32]:
    """Return int32 [count]: for each thing, the number of its set.

    count: the number of things; a thing is a number from 0 to count - 1. first, second: int
    [pairs], the two things of each pair: `first[i]` is linked to `second[i]`.

    Example with four things: 0 is linked to 1, and 1 is linked to 3. So 0, 1 and 3 form one set.
    The thing 2 has no link and is alone in its set:

    >>> connected_sets(4, np.array([0, 1]), np.array([1, 3]))
    array([0, 0, 1, 0], dtype=int32)
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    _, numbers = connected_components(graph, directed=False)
    sets: NDArray[np.int32] = numbers
    return sets
