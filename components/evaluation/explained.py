"""Test images, training images, a classifier → the explained mistakes of the report.

What it costs is bounded: at most 3 * `evaluate.explain` test images get a map, and the vectors of
at most MOST_COMPARED training images are computed. The log says how many it is.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.errors import UserError
from components.evaluation.interval import Floats, Ints
from components.explanation.grad_cam import GradCam
from components.explanation.mistakes import Amounts, ExplainedMistakes, explain_mistakes
from components.explanation.nearest import training_images
from components.model.classifier import Classifier
from components.params.evaluate import Evaluate
from components.words import count_text

log = logging.getLogger(__name__)

# The maximum number of training images among which the nearest ones are searched. If there are
# more, every n-th one is used.
MOST_COMPARED = 5_000
NEAREST = 4  # training images for each mistake
OF_PAIR = 2  # mistakes for each confused pair of classes


@dataclass(frozen=True, eq=False)
class Explained:
    """The explained mistakes, and what the page says about them.

    found: None if no mistake is explained. reason: why not, if the params ask for explanations and
    there are mistakes; otherwise empty. paths: the path of each training image that was compared.
    training: the number of all training images.
    """

    found: ExplainedMistakes | None
    reason: str = ""
    paths: tuple[str, ...] = ()
    training: int = 0


def amounts(evaluate: Evaluate) -> Amounts:
    """Return how many mistakes are explained in each part of the report."""
    count = evaluate.explain
    return Amounts(
        worst=min(count, evaluate.mistakes),
        weakest=count,
        pairs=-(-count // OF_PAIR),
        of_pair=OF_PAIR,
        nearest=NEAREST,
    )


def explain(
    classifier: Classifier,
    images: NDArray[np.uint8],
    probabilities: Floats,
    labels: Ints,
    train: tuple[NDArray[np.uint8], pd.DataFrame] | None,
    store: Path,
    evaluate: Evaluate,
) -> Explained:
    """Explain the worst mistakes, mistakes of the weakest class and of the confused pairs.

    images: uint8 [N, S, S, 3], the test images, also a memory map. probabilities: float [N, C], all
    finite. labels: int [N], class indices. train: the training images, uint8 [M, S, S, 3], also a
    memory map, and their table with the columns path and label; None if nothing is to be explained.
    store: the folder with the features of all backbones. If the network cannot be explained, the
    result and the log say why: a network that has been trained for hours must be measured all the
    same.
    """
    mistakes = int((probabilities.argmax(axis=1) != labels).sum())
    if train is None or not mistakes:
        return Explained(None)
    pixels, rows = train
    step = max(1, -(-len(rows) // MOST_COMPARED))
    compared = rows.iloc[::step]
    try:
        grad_cam = GradCam(classifier)  # first: a network without maps is refused at once
        known = training_images(classifier, pixels[::step], compared["label"].tolist(), store)
        found = explain_mistakes(grad_cam, images, probabilities, labels, known, amounts(evaluate))
    except UserError as error:
        log.warning(f"no mistake is explained: {error}")
        return Explained(None, str(error))
    groups = (found.worst, found.weakest, *(pair.explanations for pair in found.pairs))
    number = len({each.row for group in groups for each in group})
    log.info(
        f"explanations: {count_text(number, 'mistake')}, compared with "
        f"{count_text(len(compared), 'training image')}"
    )
    return Explained(found, "", tuple(compared["path"]), len(rows))
