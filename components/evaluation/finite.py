"""Probabilities → an error if one of them is no number."""

import numpy as np

from components.errors import UserError
from components.evaluation.interval import Floats


def check_finite(probabilities: Floats) -> None:
    """Raise UserError if a probability is NaN or infinite.

    probabilities: float [N, C], what a classifier gives for N images.
    """
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        raise UserError(
            "the classifier must give finite probabilities; train it again with lower learning "
            "rates, or use another model. "
            f"Received: NaN or infinity for {broken} of {len(probabilities)} images"
        )
