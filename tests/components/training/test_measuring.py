"""The metrics of an epoch are those of scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from components.training.losses import cross_entropy
from components.training.measuring import measure_logits


def test_the_metrics_of_unequal_classes_are_those_of_scikit_learn() -> None:
    """Class 3 has no image in val but is predicted, so it has no F1 and no recall."""
    generator = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], (20, 6, 4))
    logits = (generator.normal(size=(30, 4)) + np.eye(4)[labels]).astype(np.float32)
    predicted = logits.argmax(axis=1)
    assert (predicted == 3).any()
    found = measure_logits(logits, labels, cross_entropy(0.0))
    wide = logits.astype(np.float64)
    losses = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(30), labels]
    assert found == pytest.approx(
        {
            "val_loss": losses.mean(),
            "val_accuracy": (predicted == labels).mean(),
            "val_balanced_accuracy": np.mean(
                [(predicted == label)[labels == label].mean() for label in range(3)]
            ),
            "val_macro_f1": f1_score(labels, predicted, labels=[0, 1, 2], average="macro"),
        },
        rel=1e-5,
    )
