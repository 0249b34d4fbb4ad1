"""Labels of the training split → a plan against unequal class counts, as a tree of plain values.

The plan names what training draws and weighs; nothing is copied or dropped on disk, and val and
test are never touched.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from components.errors import UserError


def plan(strategy: str, labels: Iterable[str], class_names: Sequence[str]) -> dict[str, Any]:
    """Return the plan of `none`, `class_weight`, `oversample` or `undersample` for training labels.

    counts: class → images there are. targets: class → images drawn in an epoch. class_weights:
    class → factor on the loss. log_priors: class → natural logarithm of its share in the loss,
    images drawn times their weight, so that a loss adjusted by them does not correct a second time
    what sampling or weights have evened out already.

    Raises UserError where a class has no training image.
    """
    found = Counter(labels)
    counts = {name: found[name] for name in class_names}
    if 0 in counts.values():
        empty = [name for name, count in counts.items() if count == 0]
        raise UserError(f"no training image of a class; add images. Received: {', '.join(empty)}")
    targets = _targets(strategy, counts)
    even = dict.fromkeys(counts, 1.0)
    weights = class_weights(counts) if strategy == "class_weight" else even
    felt = {name: targets[name] * weights[name] for name in counts}
    whole = sum(felt.values())
    return {
        "strategy": strategy,
        "class_names": list(class_names),
        "counts": counts,
        "targets": targets,
        "class_weights": weights,
        "log_priors": {name: math.log(share / whole) for name, share in felt.items()},
    }


def class_weights(counts: Mapping[str, int]) -> dict[str, float]:
    """Return weights inverse to the counts, with mean 1 over the images (King and Zeng, 2001).

    Mean 1 keeps the size of the loss, and with it the meaning of the learning rate.
    """
    images = sum(counts.values())
    return {name: images / (len(counts) * count) for name, count in counts.items()}


def counts_table(balance_plan: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per class: class, before (images there are), after (drawn in an epoch)."""
    counts, targets = balance_plan["counts"], balance_plan["targets"]
    rows = [(name, counts[name], targets[name]) for name in balance_plan["class_names"]]
    return pd.DataFrame(rows, columns=["class", "before", "after"])


def _targets(strategy: str, counts: Mapping[str, int]) -> dict[str, int]:
    if strategy == "oversample":
        return dict.fromkeys(counts, max(counts.values()))
    if strategy == "undersample":
        return dict.fromkeys(counts, min(counts.values()))
    return dict(counts)
