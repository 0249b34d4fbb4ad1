"""Probabilities of a model and of its export, labels → how far the two differ on the test split."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.evaluation.finite import check_finite
from components.evaluation.interval import Interval, counted_interval
from components.export.exported import Floats, Images

TIMED_BATCHES = {1: 21, 16: 7}  # images in a batch → how often it is timed
WARM_UP = 2  # first calls, which compile and allocate


@dataclass(frozen=True)
class Comparison:
    """An export against its model, on N test images.

    largest_difference: of two probabilities of the same image and class. agreement: the share of
    images with the same most probable class. accuracy, model_accuracy: of the export and of the
    model. All intervals are Wilson's.
    """

    images: int
    largest_difference: float
    agreement: Interval
    accuracy: Interval
    model_accuracy: Interval

    @property
    def drop(self) -> float:
        """Return how much accuracy the export loses; negative if it gains."""
        assert self.accuracy.value is not None
        assert self.model_accuracy.value is not None
        return self.model_accuracy.value - self.accuracy.value


def compare(
    labels: NDArray[np.int64], expected: Floats, probabilities: Floats, confidence: float
) -> Comparison:
    """Compare an export with its model.

    labels: int64 [N], N > 0, columns of the probabilities. expected: float32 [N, C], of the model.
    probabilities: float32 [N, C], of the export. confidence: the confidence level of the intervals.
    Raises UserError if the export gives other than C finite numbers for an image, or if the model
    does not give finite numbers.
    """
    check_finite(expected)
    if probabilities.shape != expected.shape or not np.isfinite(probabilities).all():
        raise UserError(
            "--to: the exported model gives no probability for some classes, so it is not kept; "
            f"choose another target. Received: {probabilities.shape[1:]} numbers for an image, "
            f"{int((~np.isfinite(probabilities)).sum())} of them all not finite"
        )
    same = (probabilities.argmax(1), expected.argmax(1))
    count = len(labels)

    def share(right: NDArray[np.bool_]) -> Interval:
        return counted_interval(int(right.sum()), count, confidence)

    return Comparison(
        count,
        float(np.abs(probabilities - expected).max()),
        share(same[0] == same[1]),
        share(same[0] == labels),
        share(same[1] == labels),
    )


def latencies_ms(compute: Callable[[Images], object], images: Images) -> Mapping[int, float]:
    """Return the median time of a batch in milliseconds, for each size of TIMED_BATCHES.

    compute: a function from uint8 [N, size, size, 3]. images: uint8 [M, size, size, 3], M > 0; they
    are repeated if there are too few.
    """
    return {batch: _median_ms(compute, images, batch) for batch in TIMED_BATCHES}


def _median_ms(compute: Callable[[Images], object], images: Images, batch: int) -> float:
    pixels = np.ascontiguousarray(images[np.arange(batch) % len(images)])
    times = []
    for _ in range(WARM_UP + TIMED_BATCHES[batch]):
        start = time.perf_counter()
        np.asarray(compute(pixels))  # waits for a result that is still on a GPU
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[WARM_UP:]))
