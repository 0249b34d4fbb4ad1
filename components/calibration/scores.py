"""Labels and probabilities → how honest the probabilities are: ECE, NLL and Brier score.

Probabilities are honest (calibrated) if, of the images that are predicted with a probability of
90 %, nine in ten are predicted correctly. The stages `train` (on val) and `evaluate` (on test) use
the same functions of this file.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # Guo et al., 2017
DIGITS = 6  # the number of decimals in the files of the stages
SCORES = ("ece", "nll", "brier")


@dataclass(frozen=True)
class Bin:
    """The images whose confidence is in the same of BINS equal parts of the range 0 to 1.

    images: the number of these images, at least 1. confidence: their mean confidence, 0 to 1.
    accuracy: the share of them that are predicted correctly, 0 to 1.
    """

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How honest the probabilities of N images are. For all three scores, 0 is best.

    ece: the expected calibration error (Naeini et al., 2015), 0 to 1: the mean over all images of
        the difference between the accuracy and the mean confidence of their bin.
    nll: the mean negative log-likelihood, at least 0: minus the natural logarithm of the
        probability of the label.
    brier: the Brier score (1950), 0 to 2: the squared differences between the probabilities and the
        truth (1 for the label, 0 for all other classes), summed over the classes; the mean of this.
    bins: the bins that have an image, from low to high confidence. They make the reliability
        diagram.
    """

    ece: float
    nll: float
    brier: float
    bins: tuple[Bin, ...]

    @property
    def scores(self) -> dict[str, float]:
        """Return name → value of the three scores, with DIGITS decimals."""
        return {name: round(getattr(self, name), DIGITS) for name in SCORES}

    def to_tree(self) -> dict[str, Any]:
        """Return nested values for JSON."""
        bins = [
            {key: round(value, DIGITS) for key, value in asdict(bin_).items()} for bin_ in self.bins
        ]
        return {**self.scores, "bins": bins}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> "Calibration":
        """Return the value from which `to_tree` made `tree`, with DIGITS decimals."""
        bins = tuple(Bin(**bin_) for bin_ in tree["bins"])
        return cls(**{name: tree[name] for name in SCORES}, bins=bins)


def calibration(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Calibration:
    """Measure how honest probabilities are.

    labels: int [N], N > 0, the label of each image as a class index. probabilities: float [N, C],
    all finite. The confidence of an image is its highest probability; the class that has it is the
    predicted class.

    Example: one image has a confidence of 0.9 and is predicted correctly, one has 0.6 and is not.
    The bins differ by 0.1 and by 0.6, so the ECE is (0.1 + 0.6) / 2:

    >>> calibration(np.array([0, 0]), np.array([[0.9, 0.1], [0.4, 0.6]])).scores
    {'ece': 0.35, 'nll': 0.510826, 'brier': 0.37}
    """
    smallest = np.finfo(probabilities.dtype).tiny  # A probability of 0 would make the NLL infinite.
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    # The sum of (p - 1)² for the label and p² for the others, without a matrix of the truth.
    squares = np.einsum("nc,nc->n", probabilities, probabilities, dtype=np.float64)
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = tuple(_bins(confidence, probabilities.argmax(axis=1) == labels))
    gaps = [bin_.images * abs(bin_.accuracy - bin_.confidence) for bin_ in bins]
    return Calibration(
        ece=float(sum(gaps) / len(labels)),
        nll=float(-np.log(np.maximum(of_label, smallest)).mean()),
        brier=max(0.0, float((squares - 2 * of_label + 1).mean())),
        bins=bins,
    )


def _bins(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> list[Bin]:
    # A bin contains its upper edge, but not its lower edge. No confidence is 0.
    numbers = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    inside = [numbers == number for number in np.unique(numbers)]
    return [
        Bin(int(rows.sum()), float(confidence[rows].mean()), float(right[rows].mean()))
        for rows in inside
    ]
