"""Challenger and champion on the same test images → a row per metric, with paired intervals.

The champion is the model that is in use. The challenger is a new model that may replace the
champion.

"Paired" means that the intervals of differences use, for each image, the predictions of both
models. An image that is hard for one model is usually hard for the other model, too. Such an image
does not make the interval of the difference wider.

The two models may know different classes. They are compared on the images of the shared classes,
which are the classes that both models know. All other images are left out, since one of the models
could not be right on them.

A changed class set alone must never promote. So an answer that is not shared counts against the
challenger, and never for it:

- If the challenger predicts a class that only it knows (a class that is added), it is wrong. It
  would do this harm as a champion, too.
- If the champion predicts a class that only it knows (a class that is gone), its answer is the most
  probable of the shared classes. A champion without the column of the class would answer this. If
  this answer is right and the challenger is wrong, the image is lost. If it is wrong and the
  challenger is right, the image is no gain: in the tests, the two models are equal on it.

Example: the class trash is renamed rubbish. The champion knows glass and trash. The challenger
knows glass and rubbish. They are compared on the images of glass only. If the champion predicts
trash for such an image, its answer is glass, which is right. If the challenger predicts rubbish, it
is wrong, so the image is lost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from components.evaluation.bootstrap import (
    draw_resamples,
    equal_weight_images,
    percentile_interval,
    score_interval,
    whole_sample,
)
from components.evaluation.decision import decided_classes
from components.evaluation.interval import Bools, Floats, Interval, Ints, counted_interval
from components.evaluation.paired import difference_interval
from components.evaluation.scores import count_scores
from components.params.register import Register

MACRO = ("balanced_accuracy", "macro_f1")
OVERALL = ("accuracy", *MACRO)


@dataclass(frozen=True)
class Comparison:
    """One metric of the challenger and of the champion, and the difference of the two values.

    metric: the name of the metric, such as `macro_f1`. class_name: the name of the class if the
    metric is the recall of a class; None if the metric describes the whole model. challenger: the
    value and interval of the challenger. champion: the value and interval of the champion.
    difference: the challenger's value minus the champion's value, with an interval. If there is no
    champion, or if the champion does not know the class, `champion` and `difference` are None.
    """

    metric: str
    class_name: str | None
    challenger: Interval
    champion: Interval | None
    difference: Interval | None

    @property
    def title(self) -> str:
        """Return the name of the metric in words, such as `macro F1` or `recall of glass`."""
        return title(self.metric, self.class_name)


def title(metric: str, class_name: str | None = None) -> str:
    """Return the name of a metric in words.

    >>> title("macro_f1"), title("recall", "glass")
    ('macro F1', 'recall of glass')
    """
    words = metric.replace("_", " ").replace("f1", "F1")
    return words if class_name is None else f"{words} of {class_name}"


@dataclass(frozen=True)
class Rival:
    """The champion's probabilities for the test images, and the classes that the champion knows.

    probabilities: float [N, K]; column k belongs to class_names[k]. class_names: the names of the K
    classes of the champion.
    """

    probabilities: Floats
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """The predictions of the two models for the M test images of the S shared classes.

    labels: int [M], indices into `shared`. challenger: int [M], the predicted classes as indices
    into `shared`; S stands for any class that is not shared. champion: int [M], the most probable
    of the shared classes; S if each of them has the probability 0. no_gain: bool [M], True if the
    champion's most probable class of all is gone. shared: the names of the shared classes. added:
    the names of the classes that only the challenger knows. gone: the names of the classes that
    only the champion knows.
    """

    labels: Ints
    challenger: Ints
    champion: Ints
    no_gain: Bools
    shared: tuple[str, ...]
    added: tuple[str, ...]
    gone: tuple[str, ...]

    @property
    def tested_champion(self) -> Ints:
        """Return `champion` for the tests of gain and harm: int [M].

        Where the champion is wrong and the image can be no gain, it is the challenger's answer. So
        the models are equal there. A gain there could otherwise hide a loss of another image.
        """
        equal = self.no_gain & (self.champion != self.labels)
        return np.where(equal, self.challenger, self.champion)

    def members(self) -> dict[str, Bools]:
        """Return the name of each shared class → bool [M], True if an image has this label."""
        return {name: self.labels == index for index, name in enumerate(self.shared)}


def pair_predictions(
    labels: Ints, challenger: Floats, champion: Rival, class_names: Sequence[str]
) -> Pair:
    """Return the predictions of the two models for the images of the shared classes.

    labels: int [N], the label of each test image as an index into class_names. challenger: float
    [N, C], the challenger's probabilities; column c belongs to class_names[c]. champion: the
    champion's probabilities. class_names: the names of the C classes of the challenger.
    """
    known = champion.class_names
    both = set(class_names) & set(known)
    shared = tuple(name for name in class_names if name in both)
    index = {name: at for at, name in enumerate(shared)}

    def position(names: Sequence[str]) -> Ints:
        """Return int [classes]: the index of each name in `shared`, or S."""
        return np.array([index.get(name, len(shared)) for name in names], np.int64)

    ours, theirs = position(class_names), position(known)
    compared = ours[labels] < len(shared)
    answers = theirs[decided_classes(champion.probabilities)]
    of_gone = answers == len(shared)
    answers[of_gone] = _shared_answers(champion.probabilities[of_gone], known, shared)
    return Pair(
        labels=ours[labels][compared],
        challenger=ours[decided_classes(challenger)][compared],
        champion=answers[compared],
        no_gain=of_gone[compared],
        shared=shared,
        added=tuple(name for name in class_names if name not in both),
        gone=tuple(name for name in known if name not in both),
    )


def _shared_answers(probabilities: Floats, known: Sequence[str], shared: Sequence[str]) -> Ints:
    """Return the most probable of the S shared classes: int [N], S if all have the probability 0.

    probabilities: float [N, K]; column k belongs to known[k].
    """
    column = {name: at for at, name in enumerate(known)}
    columns = probabilities[:, [column[name] for name in shared]]
    # One more column, S, with the smallest number above 0: it wins only if all others are 0.
    above_0 = np.finfo(columns.dtype).smallest_subnormal
    return decided_classes(np.pad(columns, ((0, 0), (0, 1)), constant_values=above_0))


def compare(
    labels: Ints,
    challenger: Floats,
    pair: Pair | None,
    class_names: Sequence[str],
    register: Register,
    seed: int,
) -> tuple[Comparison, ...]:
    """Compare the metrics of the challenger with the metrics of the champion.

    labels: int [N], the label of each test image as an index into class_names. challenger: float
    [N, C], the finite probabilities of the challenger; column c belongs to class_names[c]. pair:
    the predictions of the two models; None if there is no champion to compare with, so that the
    rows have the challenger's values on all test images. class_names: the names of the C classes.
    register: the section `register` of params.yaml. seed: the seed of the random numbers that
    choose the images of the bootstrap resamples.

    Returns one row for each metric. The first three rows are accuracy, balanced accuracy and macro
    F1. Then the recall of each class follows, in the order of class_names. Accuracy and recalls
    have Wilson's interval, and their differences have Tango's interval. The other metrics have
    bootstrap intervals (`score_interval`, and `percentile_interval` for differences).
    """
    predicted = decided_classes(challenger)
    models = [predicted]
    truth, compared_classes = labels, tuple(class_names)
    if pair is not None:
        truth, compared_classes = pair.labels, pair.shared
        models = [pair.challenger, pair.champion]
    confidence = register.confidence
    rights = [truth == classes for classes in models]
    rows = {"accuracy": _share_row("accuracy", None, rights, confidence)}
    rows |= {
        row.metric: row for row in _macro_rows(truth, models, compared_classes, register, seed)
    }
    recalls = []
    position = {name: at for at, name in enumerate(compared_classes)}
    for index, name in enumerate(class_names):
        if name in position:
            members = truth == position[name]
            of_class = [right[members] for right in rights]
        else:  # a class that the champion does not know
            of_class = [predicted[labels == index] == index]
        recalls.append(_share_row("recall", name, of_class, confidence))
    return (*(rows[name] for name in OVERALL), *recalls)


def _share_row(
    metric: str, class_name: str | None, rights: Sequence[Bools], confidence: float
) -> Comparison:
    """Return the row of a metric that is a share of images.

    rights: for the challenger, then for the champion if there is one: bool [M], True if the
    prediction of an image is right.
    """
    images = len(rights[0])
    challenger, *champion = (
        counted_interval(int(right.sum()), images, confidence) for right in rights
    )
    if not champion or not images:
        return Comparison(metric, class_name, challenger, next(iter(champion), None), None)
    new, old = rights
    lost, gained = int((old & ~new).sum()), int((new & ~old).sum())
    difference = difference_interval(lost, gained, images, confidence)
    return Comparison(metric, class_name, challenger, champion[0], difference)


def _macro_rows(
    labels: Ints, models: Sequence[Ints], shared: Sequence[str], register: Register, seed: int
) -> Iterator[Comparison]:
    """Yield the rows of the metrics in MACRO.

    labels: int [M]. models: int [M] for the challenger, then for the champion if there is one: the
    predicted classes. shared: the names of the S classes of the labels; a prediction may also be S.
    """
    classes = len(shared) + 1
    blocks = [
        [count_scores(labels, predicted, classes, times) for predicted in models]
        for times in chain(
            [whole_sample(len(labels))], draw_resamples(labels, register.resamples, seed)
        )
    ]
    images = equal_weight_images(np.bincount(labels))
    for metric in MACRO:
        # A rounding error in the 16th digit could decide whether a score is below a floor. So the
        # scores and their differences are rounded to 12 decimals.
        scores = np.concatenate(
            [np.stack([model[metric] for model in block]) for block in blocks], axis=-1
        ).round(12)
        challenger, *champion = (
            score_interval(values[0], values[1:], register.confidence, images) for values in scores
        )
        if not champion:
            yield Comparison(metric, None, challenger, None, None)
            continue
        gaps = (scores[0] - scores[1]).round(12)
        difference = percentile_interval(gaps[0], gaps[1:], register.confidence)
        yield Comparison(metric, None, challenger, champion[0], difference)
