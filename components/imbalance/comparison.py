"""Features, labels, params → how much each method against unequal classes gains, with intervals.

All images of train and val are divided into FOLDS parts, the folds. With each seed, the heads are
trained on three folds; the fourth chooses the best epoch and fits tau, and the fifth measures. The
next seed measures on the next fold, and after FOLDS seeds the images are divided in another way. So
no method is measured on images that it has seen, and the test split is not touched.

All copies of an image, and all images of a group, are in one fold.

All methods get the same folds and the same seed, so they are compared in pairs: the difference to
`none` is computed for each seed. The folds of two seeds share most of their training images, so the
differences vary less than for two independent samples. The interval allows for this (the corrected
resampled t-test: Nadeau and Bengio, 2003).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.calibration.adjustment import fit_adjustment
from components.errors import UserError
from components.evaluation.interval import Interval, corrected_interval
from components.imbalance.heads import Heads, Rows
from components.imbalance.methods import METHODS, NONE, TUNED_KEY, Method
from components.model.classifier import Classifier
from components.params.train import Train
from components.training.batches import steps_per_epoch
from components.training.limits import check_updates
from components.training.measuring import macro_f1
from components.training_set.balance import plan
from components.training_set.examples import Balance, Examples
from components.validation.folds import FOLDS, random_folds

CONFIDENCE = 0.95
SCORES = ("macro_f1", "rare_recall", "accuracy")
# A class is rare if it has less than this share of the images that equal classes would have.
RARE = 0.5

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """The scores of a method. All scores are from 0 to 1, and higher is better.

    means: score → its mean over the seeds. differences: score → the mean difference to `none`, with
    its interval. For `none` itself, they are 0.
    """

    method: Method
    means: dict[str, float]
    differences: dict[str, Interval]


@dataclass(frozen=True)
class Comparison:
    """The results of all methods, in the order of METHODS, and what follows from them.

    rare: the names of the rare classes, whose mean recall is the score `rare_recall`.
    """

    results: tuple[Result, ...]
    rare: tuple[str, ...]
    images: int
    seeds: int

    @property
    def chosen(self) -> Result:
        """Return the method with the best mean macro F1 among those that are surely better.

        A method is surely better than `none` if the interval of its difference in macro F1 is above
        0. If no method is, `none` is returned.
        """
        better = [r for r in self.results if (r.differences["macro_f1"].low or 0.0) > 0]
        return max(better, key=lambda result: result.means["macro_f1"], default=self.results[0])


def compare(
    classifier: Classifier,
    pool: Examples,
    sets: Sequence[int],
    train: Train,
    beta: float,
    seeds: int,
    track: Callable[[Iterator[None], int], Iterator[None]],
) -> Comparison:
    """Train and measure a head with every method and seed.

    classifier: the classifier whose head is trained. pool: features float32 [N, D] of the images of
    train and val, with labels. sets: [N], the set of copies of each image, see `random_folds`.
    train: the section `train` of params.yaml. beta: `balance.effective_number_beta`. seeds: the
    number of seeds, at least 2. track: shows the progress; it gets the trainings and their number.

    Raises UserError if a class has fewer than FOLDS images that are no copies of each other, or if
    an epoch has too few batches for an update of the weights.
    """
    names = classifier.class_names
    rare = rare_classes(pool.labels, names)
    scores: dict[Method, list[Scores]] = {method: [] for method in METHODS}

    whole = _plan("none", pool.labels, names, beta)
    steps = max(1, steps_per_epoch(whole, train.batch_size) * (FOLDS - 2) // FOLDS)
    check_updates(train, steps)

    def trainings() -> Iterator[None]:
        heads = Heads(classifier, pool, whole, train, steps)
        for seed in range(seeds):
            folds = _folds(pool.labels, sets, names, seed)
            for method in METHODS:
                predicted, labels = _predict(method, heads, pool.labels, folds, names, beta, seed)
                scores[method].append(measure_scores(labels, predicted, rare))
                yield

    for _ in track(trainings(), seeds * len(METHODS)):
        pass
    return Comparison(
        tuple(_result(method, scores) for method in METHODS),
        tuple(names[index] for index in rare),
        len(pool),
        seeds,
    )


def rare_classes(labels: NDArray[np.int64], names: Sequence[str]) -> list[int]:
    """Return the classes with few images, see RARE; if there is none, the smallest class.

    >>> rare_classes(np.array([0] * 8 + [1] * 6 + [2] * 1), ["cat", "dog", "emu"])
    [2]
    """
    counts = np.bincount(labels, minlength=len(names))
    rare = np.flatnonzero(counts < RARE * counts.mean()).tolist()
    return rare or [int(counts.argmin())]


def _result(method: Method, scores: dict[Method, list[Scores]]) -> Result:
    ours, base = np.array(scores[method]), np.array(scores[NONE])
    differences = [
        corrected_interval(column, 1 / (FOLDS - 1), CONFIDENCE, limits=(-1.0, 1.0))
        for column in (ours - base).T
    ]
    means = dict(zip(SCORES, ours.mean(axis=0).tolist(), strict=True))
    return Result(method, means, dict(zip(SCORES, differences, strict=True)))


def _predict(
    method: Method,
    heads: Heads,
    labels: NDArray[np.int64],
    folds: Rows,
    names: Sequence[str],
    beta: float,
    seed: int,
) -> tuple[Rows, NDArray[np.int64]]:
    """Return the predicted classes and the labels of the fold that measures."""
    measuring, choosing = seed % FOLDS, (seed + 1) % FOLDS
    test, val = np.flatnonzero(folds == measuring), np.flatnonzero(folds == choosing)
    rows = np.flatnonzero((folds != measuring) & (folds != choosing))
    strategy = method.value if method.key == "balance.strategy" else "none"
    loss = method.value if method.key == "train.loss" else "cross_entropy"
    balance = _plan(strategy, labels[rows], names, beta).for_loss(loss)
    heads.fit(balance, loss, rows, val, seed)
    logits = heads.logits(test)
    if method.key == TUNED_KEY:
        adjustment = fit_adjustment(heads.logits(val), labels[val], balance.log_priors)
        logits = logits + np.array(adjustment.shift, np.float32)
    return logits.argmax(axis=1), labels[test]


def _plan(strategy: str, labels: NDArray[np.int64], names: Sequence[str], beta: float) -> Balance:
    texts = [names[label] for label in labels]
    return Balance.from_plan(plan(strategy, texts, names, beta))


def _folds(
    labels: NDArray[np.int64], sets: Sequence[int], names: Sequence[str], seed: int
) -> NDArray[np.intp]:
    """Return the fold of each image."""
    folds = random_folds(labels, sets, FOLDS, seed // FOLDS)
    for index, name in enumerate(names):
        present = len(np.unique(folds[labels == index]))
        if present < FOLDS:
            raise UserError(
                f"a comparison needs at least {FOLDS} images of each class that are no copies of "
                f"each other; add images, or leave out the class. Received: {name}: {present}"
            )
    return folds


def measure_scores(labels: NDArray[np.int64], predicted: Rows, rare: Sequence[int]) -> Scores:
    """Return the SCORES of predictions, float [3]."""
    recalls = [np.mean(predicted[labels == label] == label) for label in rare]
    accuracy = np.mean(labels == predicted)
    return np.array([macro_f1(labels, predicted), np.mean(recalls), accuracy])
