"""Real predictions: a weak linear classifier on scikit-learn's digits."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from components.params.evaluate import Evaluate
from components.params.reader import Params


@dataclass(frozen=True)
class Predicted:
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    images: NDArray[np.uint8]
    class_names: tuple[str, ...]


@pytest.fixture(scope="session")
def digits() -> Predicted:
    """300 test digits, about one in ten named wrongly."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    data = load_digits()
    pixels = (255 - data.images * 255 / 16).astype(np.uint8)
    model = LogisticRegression(C=0.003, max_iter=60).fit(data.data[300:] / 16, data.target[300:])
    return Predicted(
        labels=data.target[:300],
        probabilities=model.predict_proba(data.data[:300] / 16).astype(np.float32),
        images=np.repeat(pixels[:300, :, :, np.newaxis], 3, axis=3),
        class_names=tuple("0123456789"),
    )


@pytest.fixture(scope="session")
def quick(params: Params) -> Evaluate:
    """The repository's own params with fewer resamples."""
    return params.evaluate.model_copy(update={"resamples": 300})
