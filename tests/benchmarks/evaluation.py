"""python -m tests.benchmarks.evaluation: bootstrap intervals against a loop over scikit-learn.

Both compute accuracy, balanced accuracy and macro F1 of as many resamples, in one process.
"""

import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from components.evaluation.metrics import measure
from components.params.reader import read_params
from tests.benchmarks.timing import median_s
from tests.cards import DIGITS

RESAMPLES = 200
SIZES = ((400, 10), (2_000, 10), (2_000, 100))


def main() -> None:
    """Print a line per number of images and classes."""
    evaluate = read_params(DIGITS).evaluate
    evaluate = evaluate.model_copy(update={"resamples": RESAMPLES})
    print(f"{RESAMPLES} resamples; seconds, median of three, and the ratio")
    for images, classes in SIZES:
        generator = np.random.default_rng(7)
        labels = generator.permutation(np.arange(images) % classes)
        probabilities = generator.dirichlet(np.full(classes, 0.3), images).astype(np.float32)
        names = [f"class {number}" for number in range(classes)]
        # Bound as defaults, since the loop goes on to other sizes.
        ours = median_s(lambda p=probabilities, y=labels, n=names: measure(y, p, n, evaluate, 7))
        peer = median_s(lambda p=probabilities, y=labels: with_scikit_learn(y, p.argmax(axis=1)))
        print(
            f"{images:6} images {classes:4} classes: fovea (with AUC, all classes) {ours:.2f} s, "
            f"scikit-learn {peer:.2f} s, {peer / ours:.1f} times faster"
        )


def with_scikit_learn(labels: np.ndarray, predicted: np.ndarray) -> None:
    """Loop over resamples, three metrics each, without any figure per class."""
    generator = np.random.default_rng(7)
    for _ in range(RESAMPLES):
        drawn = generator.integers(0, len(labels), len(labels))
        accuracy_score(labels[drawn], predicted[drawn])
        balanced_accuracy_score(labels[drawn], predicted[drawn])
        f1_score(labels[drawn], predicted[drawn], average="macro", zero_division=0)


if __name__ == "__main__":
    main()
