"""A trained classifier → what a prediction with it costs, for searches with several objectives."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

from components.model.classifier import Classifier, predict
from components.search.layers import layers_in

REPEATS = 9  # predictions whose median is the latency, after one that is not counted


def costs(classifier: Classifier, names: Sequence[str]) -> dict[str, float]:
    """Return the costs asked for.

    names: some of `multiply_adds` (of one image, those of convolutions and dense layers), `bytes`
    (of all weights as float32) and `latency_ms` (measured here: the time in which one image is
    predicted, in milliseconds). Only the last one depends on the machine, and on its load.
    """
    return {name: COSTS[name](classifier) for name in names}


def _multiply_adds(classifier: Classifier) -> float:
    return float(sum(layer.multiply_adds for layer in layers_in(classifier.model)))


def _bytes(classifier: Classifier) -> float:
    return 4.0 * float(classifier.model.count_params())


def _latency_ms(classifier: Classifier) -> float:
    image = np.zeros((1, classifier.size, classifier.size, 3), np.uint8)
    predict(classifier, image)
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        predict(classifier, image)
        times.append(time.perf_counter() - begun)
    return 1000 * median(times)


COSTS: Mapping[str, Callable[[Classifier], float]] = {
    "multiply_adds": _multiply_adds,
    "bytes": _bytes,
    "latency_ms": _latency_ms,
}
