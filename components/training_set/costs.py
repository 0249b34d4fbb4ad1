"""`balance.costs` of params.yaml, class names → the matrix of what each confusion costs.

The same matrix is used to train (`train.loss: cost_sensitive`) and to measure (stage `evaluate`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.words import name_list

Costs = Mapping[str, Mapping[str, float]]

# A matrix has classes² cells. With 2,000 classes it needs 32 MB.
MOST_CLASSES = 2_000


def cost_matrix(costs: Costs, class_names: Sequence[str]) -> NDArray[np.float64]:
    """Return the cost of each decision: float64 [C, C]; `matrix[label, decision]`.

    costs: true class → predicted class → cost. A pair that is not in it costs 1; a right decision
    costs 0. class_names: the names of the C classes.

    Raises UserError if a class is unknown, if a right decision would cost something, if all pairs
    cost nothing, or if there are more than MOST_CLASSES classes. Negative costs are refused when
    params.yaml is read.

    >>> cost_matrix({"glass": {"metal": 5.0}}, ["glass", "metal", "paper"])
    array([[0., 5., 1.],
           [1., 0., 1.],
           [1., 1., 0.]])
    """
    if len(class_names) > MOST_CLASSES:
        raise UserError(
            f"balance.costs: costs are for at most {MOST_CLASSES:,} classes; write `costs: {{}}`. "
            f"Received: {len(class_names):,} classes"
        )
    positions = {name: index for index, name in enumerate(class_names)}
    named = {name for label, row in costs.items() for name in (label, *row)}
    if unknown := sorted(named - positions.keys()):
        raise UserError(
            f"balance.costs: choose among the classes {name_list(class_names)}. "
            f"Received: {name_list(unknown)}"
        )
    matrix = 1 - np.eye(len(class_names))
    for label, row in costs.items():
        for decision, cost in row.items():
            matrix[positions[label], positions[decision]] = cost
    if matrix.diagonal().any():
        right = [name for name, cost in zip(class_names, matrix.diagonal(), strict=True) if cost]
        raise UserError(
            "balance.costs: a right decision costs 0; remove the pairs of a class with itself. "
            f"Received: {name_list([f'{name}: {{{name}: …}}' for name in right])}"
        )
    if not matrix.any():
        raise UserError(
            "balance.costs: a wrong decision must cost something; give a pair a cost above 0. "
            "Received: 0 for all pairs"
        )
    return matrix
