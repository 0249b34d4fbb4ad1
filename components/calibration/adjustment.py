"""Logits of val, labels, log priors → how strongly the logits are adjusted for rare classes.

A classifier that was trained on unequal classes prefers the large ones. Logit adjustment subtracts
tau * log prior from the logits, after training (Menon et al., 2021, eq. 9). With tau = 1, this is
best for the balanced accuracy if the probabilities are honest. They are not quite, so tau is tuned
on val.

How: for each tau of TAUS, the mean of accuracy and balanced accuracy of val is measured. A tau
that costs more accuracy than it gains in balanced accuracy lowers this score. Of equal ones, the
tau with the lowest negative log-likelihood (NLL) is best.

The guard against a small val: with few images of a class, the best tau is mostly luck. So all taus
are looked at whose score is at most one standard error below the best. They are those that val
cannot tell from the best. If tau 0 is one of them, nothing is adjusted. Otherwise the middle of
them is taken. The standard error is that of the difference of the two taus on the same images.
docs/decisions/imbalance.md compares this rule with others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.calibration.scores import DIGITS

TAUS = np.round(np.arange(0, 2.01, 0.05), 2)
EVEN = "all classes have the same share in the loss, after sampling and weighting"
NOT_SURE = "val cannot tell that another tau is better than 0"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Adjustment:
    """A fitted tau, and the balanced accuracy of val without it and with it.

    shift: for each class, the number that is added to its logits, -tau * log prior. before, after:
    the balanced accuracy without and with it, 0 to 1. notes: if tau is 0, a sentence that says why;
    otherwise empty.
    """

    tau: float
    shift: tuple[float, ...]
    before: float
    after: float
    notes: tuple[str, ...] = ()

    def to_tree(self) -> dict[str, Any]:
        """Return plain values for calibration.json."""
        return {
            "tau": self.tau,
            "shift": list(self.shift),
            "balanced_accuracy_before": round(self.before, DIGITS),
            "balanced_accuracy_after": round(self.after, DIGITS),
            "notes": list(self.notes),
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> "Adjustment":
        """Return the value from which `to_tree` made `tree`, with rounded numbers."""
        before, after = tree["balanced_accuracy_before"], tree["balanced_accuracy_after"]
        return cls(tree["tau"], tuple(tree["shift"]), before, after, tuple(tree["notes"]))

    def to_flat(self) -> dict[str, float]:
        """Return name → value for MLflow."""
        return {
            "tau": self.tau,
            "val_balanced_accuracy_unadjusted": self.before,
            "val_balanced_accuracy_adjusted": self.after,
        }

    def in_words(self) -> str:
        """Return tau and its effect in one line."""
        if not self.tau:
            return f"logit adjustment: none, because {self.notes[0]}"
        effect = f"balanced accuracy of val {self.before:.3f} → {self.after:.3f}"
        return f"logit adjustment: tau {self.tau:g}, {effect}"


def fit_adjustment(
    logits: NDArray[np.floating], labels: NDArray[np.integer], log_priors: NDArray[np.floating]
) -> Adjustment:
    """Return the adjustment with the tau of TAUS that fits val best, see above.

    logits: float [N, C], N > 0, all finite. labels: int [N], class indices. log_priors: float [C],
    the natural logarithms of the shares of the classes in the loss.

    Class 0 is nine times as frequent, so the logits of an image that says nothing differ by 2.2.
    The images of class 1 say 2.0 for it, which is not enough. Every tau from 0.1 to 0.95 corrects
    this, and a tau in their middle is taken:

    >>> labels, logits = np.array([0, 1] * 50), np.tile(np.log([0.9, 0.1]), (100, 1))
    >>> logits[labels == 1] += [0, 2.0]
    >>> fit_adjustment(logits, labels, np.log([0.9, 0.1])).tau
    0.55
    """
    from scipy.special import log_softmax

    wide = logits.astype(np.float64)
    if np.ptp(log_priors) < 1e-6:
        right = (wide.argmax(axis=1) == labels)[:, np.newaxis]
        balanced = float(_recalls(right, labels).mean())
        return Adjustment(0.0, (0.0,) * len(log_priors), balanced, balanced, (EVEN,))
    shifted = [wide - tau * log_priors.astype(np.float64) for tau in TAUS]
    right = np.stack([values.argmax(axis=1) == labels for values in shifted], axis=1)
    recalls = _recalls(right, labels)
    balanced, scores = recalls.mean(axis=1), recalls @ _class_weights(labels)
    nll = [
        -log_softmax(values, axis=1)[np.arange(len(labels)), labels].mean() for values in shifted
    ]
    best = int(np.lexsort((nll, -scores.round(DIGITS)))[0])
    within = scores[best] - scores <= _standard_errors(right, right[:, best], labels)
    chosen = 0 if within[0] else round(float(np.flatnonzero(within).mean()))
    tau = float(TAUS[chosen])
    shift = tuple(round(-tau * float(prior), DIGITS) for prior in log_priors)
    notes = (NOT_SURE,) if within[0] else ()
    return Adjustment(tau, shift, float(balanced[0]), float(balanced[chosen]), notes)


def _recalls(right: NDArray[np.bool_], labels: NDArray[np.integer]) -> Floats:
    """Return the recall of each class that val has, for each tau, float [T, C]. right: [N, T]."""
    return np.stack([right[labels == label].mean(axis=0) for label in np.unique(labels)], axis=1)


def _class_weights(labels: NDArray[np.integer]) -> Floats:
    """Return the weight of each recall in the mean of accuracy and balanced accuracy, float [C]."""
    counts = np.unique(labels, return_counts=True)[1]
    weights: Floats = (counts / counts.sum() + 1 / len(counts)) / 2
    return weights


def _standard_errors(
    right: NDArray[np.bool_], best: NDArray[np.bool_], labels: NDArray[np.integer]
) -> Floats:
    """Return the standard error of (score of the best tau - score of each tau), float [T].

    In each class, two images are added, one for each of the two (Bonett and Price, 2012). So a
    class with one image does not count as known exactly. The best tau itself is 0 away from itself.
    right: bool [N, T]. best: bool [N].
    """
    variance = np.zeros(right.shape[1])
    for label, weight in zip(np.unique(labels), _class_weights(labels), strict=True):
        rows = labels == label
        gained = best[rows][:, np.newaxis].astype(int) - right[rows]
        images = rows.sum() + 2
        spread = ((gained**2).sum(axis=0) + 2) / images - (gained.sum(axis=0) / images) ** 2
        variance += weight**2 * spread / images
    result: Floats = np.sqrt(variance)
    return result
