"""Labels of the train split → a plan for classes with unequal numbers of images.

The plan says, for each class, how many images are drawn in an epoch, and with which weight the loss
of each image is multiplied. No image is copied or deleted on disk. The val and test splits are not
changed.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from components.errors import UserError


def plan(strategy: str, labels: Iterable[str], class_names: Sequence[str]) -> dict[str, Any]:
    """Return the plan of a strategy: `none`, `class_weight`, `oversample` or `undersample`.

    strategy: the value `balance.strategy` of params.yaml; components/params/balance.py explains the
    strategies. labels: the label of each training image. class_names: the names of all classes.

    The result has the keys strategy and class_names, with the values of these arguments, and also
    these keys:

    - counts: class → number of training images.
    - targets: class → number of images drawn in an epoch.
    - class_weights: class → factor by which the loss of an image is multiplied.
    - log_priors: class → natural logarithm of the share of the class in the loss. This share is
      target * weight of the class, divided by the sum of target * weight of all classes. So the
      loss `logit_adjusted`, which uses log_priors, corrects only the imbalance that remains after
      sampling and weighting.

    Raises UserError if a class has no training image.

    >>> plan("oversample", ["cat", "cat", "dog"], ["cat", "dog"])["targets"]
    {'cat': 2, 'dog': 2}
    """
    by_label = Counter(labels)
    counts = {name: by_label[name] for name in class_names}
    if 0 in counts.values():
        empty = [name for name, count in counts.items() if count == 0]
        raise UserError(f"a class has no training image; add images. Received: {', '.join(empty)}")
    targets = _targets(strategy, counts)
    equal = dict.fromkeys(counts, 1.0)
    weights = class_weights(counts) if strategy == "class_weight" else equal
    in_loss = {name: targets[name] * weights[name] for name in counts}
    whole = sum(in_loss.values())
    return {
        "strategy": strategy,
        "class_names": list(class_names),
        "counts": counts,
        "targets": targets,
        "class_weights": weights,
        "log_priors": {name: math.log(share / whole) for name, share in in_loss.items()},
    }


def class_weights(counts: Mapping[str, int]) -> dict[str, float]:
    """Return class → weight. A weight is inversely proportional to the count (King and Zeng, 2001).

    counts: class → number of images. The mean weight of all images is 1. So the loss has the same
    scale as without weights, and the learning rate need not be changed.

    >>> class_weights({"cat": 3, "dog": 1})["dog"]
    2.0
    """
    images = sum(counts.values())
    return {name: images / (len(counts) * count) for name, count in counts.items()}


def counts_table(balance_plan: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table with one row per class and the columns class, before and after.

    The column `before` has the number of training images of the class. The column `after` has the
    number of its images that are drawn in an epoch. balance_plan: the result of `plan`.
    """
    counts, targets = balance_plan["counts"], balance_plan["targets"]
    rows = [(name, counts[name], targets[name]) for name in balance_plan["class_names"]]
    return pd.DataFrame(rows, columns=["class", "before", "after"])


def _targets(strategy: str, counts: Mapping[str, int]) -> dict[str, int]:
    if strategy == "oversample":
        return dict.fromkeys(counts, max(counts.values()))
    if strategy == "undersample":
        return dict.fromkeys(counts, min(counts.values()))
    return dict(counts)
