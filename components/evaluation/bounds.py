"""Params, numbers of images and classes → what is left out because it would take too long."""

from collections.abc import Iterator

from components.evaluation.curves import MOST_CURVES
from components.evaluation.metrics import areas_have_intervals
from components.evaluation.robustness import cost_in_words
from components.params.evaluate import Evaluate


def bounds(evaluate: Evaluate, images: int, classes: int) -> Iterator[str]:
    """Yield a sentence for each part of the stage `evaluate` that costs much or is bounded.

    evaluate: the section `evaluate` of params.yaml. images, classes: the numbers of test images and
    of classes.
    """
    if evaluate.corruptions.kinds:
        yield cost_in_words(evaluate.corruptions, images)
    if not areas_have_intervals(images, classes, evaluate.resamples):
        yield (
            f"ROC AUC has no intervals: {images:,} images, {classes:,} classes and "
            f"{evaluate.resamples:,} resamples would take too long; lower evaluate.resamples"
        )
    if classes > MOST_CURVES:
        yield f"of {classes:,} classes, the {MOST_CURVES} with the most test images have curves"
