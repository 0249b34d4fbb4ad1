"""Labels of the train split → a plan for classes with unequal numbers of images.

The plan says, for each class, how many images are drawn in an epoch, and with which weight the loss
of each image is multiplied. No image is copied or deleted on disk. The val and test splits are not
changed.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from components.errors import UserError
from components.training_set.costs import Costs, cost_matrix
from components.words import name_list

# Every class is drawn as often as the largest one. Two of these also say how the copies are made.
RAISED = ("oversample", "augment_minority", "smote")


def plan(
    strategy: str,
    labels: Iterable[str],
    class_names: Sequence[str],
    beta: float,
    costs: Costs | None = None,
) -> dict[str, Any]:
    """Return the plan of a strategy, which components/params/balance.py explains.

    strategy, beta, costs: the values of `balance` in params.yaml. labels: the label of each
    training image. class_names: the names of all classes.

    The result has the keys strategy, class_names and costs, with the values of these arguments, and
    also these keys:

    - counts: class → number of training images.
    - targets: class → number of images drawn in an epoch.
    - class_weights: class → factor by which the loss of an image is multiplied.
    - log_priors: class → natural logarithm of the share of the class in the loss. This share is
      target * weight of the class, divided by the sum of target * weight of all classes. So the
      loss `logit_adjusted`, which uses log_priors, corrects only the imbalance that remains after
      sampling and weighting.
    - class_balanced_weights: class → factor by which the loss `class_balanced_focal` also
      multiplies the loss of an image. It corrects only what remains, too.

    Raises UserError if a class has no training image, or in the cases of `cost_matrix`.

    >>> plan("oversample", ["cat", "cat", "dog"], ["cat", "dog"], 0.999)["targets"]
    {'cat': 2, 'dog': 2}
    """
    if costs:
        cost_matrix(costs, class_names)
    by_label = Counter(labels)
    counts = {name: by_label[name] for name in class_names}
    if 0 in counts.values():
        empty = [name for name, count in counts.items() if count == 0]
        raise UserError(
            "a class has no training image, so it has no weight and nothing to draw; add images. "
            f"Received: {name_list(empty)}"
        )
    targets = _targets(strategy, counts)
    weights = class_weights(strategy, counts, beta)
    in_loss = {name: targets[name] * weights[name] for name in counts}
    whole, images = sum(in_loss.values()), sum(counts.values())
    remaining = {name: images * share / whole for name, share in in_loss.items()}
    return {
        "strategy": strategy,
        "class_names": list(class_names),
        "counts": counts,
        "targets": targets,
        "class_weights": weights,
        "log_priors": {name: math.log(share / whole) for name, share in in_loss.items()},
        "class_balanced_weights": class_weights("effective_number_weights", remaining, beta),
        "costs": dict(costs or {}),
    }


def class_weights(strategy: str, counts: Mapping[str, float], beta: float) -> dict[str, float]:
    """Return class → weight; all weights are 1 if the strategy gives none.

    counts: class → number of images. The mean weight of all images is 1. So the loss has the same
    scale as without weights, and the learning rate need not be changed.

    `inverse_weights`: King and Zeng, 2001. `effective_number_weights`: Cui et al., 2019, eq. 2; the
    effective number of n images is (1 - beta^n) / (1 - beta): further images of a large class show
    less and less that is new. With beta = 0.999, it is at most 1,000.

    >>> class_weights("inverse_weights", {"cat": 3, "dog": 1}, 0.999)["dog"]
    2.0
    """
    factors: dict[str, Callable[[float], float]] = {
        "inverse_weights": lambda count: 1 / count,
        "square_root_weights": lambda count: 1 / math.sqrt(count),
        "effective_number_weights": lambda count: (1 - beta) / (1 - beta**count),
    }
    if strategy not in factors:
        return dict.fromkeys(counts, 1.0)
    unscaled = {name: factors[strategy](count) for name, count in counts.items()}
    scale = sum(counts.values()) / sum(counts[name] * unscaled[name] for name in counts)
    return {name: scale * weight for name, weight in unscaled.items()}


def counts_table(balance_plan: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table with one row per class and the columns class, before and after.

    The column `before` has the number of training images of the class. The column `after` has the
    number of its images that are drawn in an epoch. balance_plan: the result of `plan`.
    """
    counts, targets = balance_plan["counts"], balance_plan["targets"]
    rows = [(name, counts[name], targets[name]) for name in balance_plan["class_names"]]
    return pd.DataFrame(rows, columns=["class", "before", "after"])


def _targets(strategy: str, counts: Mapping[str, int]) -> dict[str, int]:
    if strategy in RAISED:
        return dict.fromkeys(counts, max(counts.values()))
    if strategy == "undersample":
        return dict.fromkeys(counts, min(counts.values()))
    if strategy == "square_root_sampling":
        # An epoch has as many images as without it (Kang et al., 2020, eq. 1 with q = 1/2).
        factor = sum(counts.values()) / sum(map(math.sqrt, counts.values()))
        return {name: round(factor * math.sqrt(count)) for name, count in counts.items()}
    return dict(counts)
