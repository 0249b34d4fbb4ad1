"""Rows of the train split → data/balance: the balance plan, and the number of images per class."""

import logging

import pandas as pd

from components.params.balance import Balance
from components.training_set.balance import counts_table, plan
from pipelines import artifacts
from pipelines.formats import read_table, read_tree, write_table, write_tree

log = logging.getLogger(__name__)

LISTED = 20  # classes in the log; counts.csv has all


def run(balance: Balance) -> None:
    """Write the balance plan and a table with the number of images of each class.

    The plan says, for each class, how many of its images an epoch uses, and the weight of each of
    these images in the loss.
    Raises UserError if the stage `prepare` has not run, if a class has no training image, or if
    `balance.costs` does not fit the classes.
    """
    class_names = read_tree(artifacts.STATISTICS)["class_names"]
    labels = read_table(artifacts.rows("train"))["label"]
    balance_plan = plan(
        balance.strategy, labels, class_names, balance.effective_number_beta, balance.costs
    )
    counts = counts_table(balance_plan)
    write_tree(artifacts.PLAN, balance_plan)
    write_table(artifacts.COUNTS, counts)
    log.info(f"strategy {balance.strategy}: {_in_words(counts)}")


def _in_words(counts: pd.DataFrame) -> str:
    """Return in words how many images of each class an epoch uses.

    counts: the table with the columns class, before and after.
    """
    before, after = counts["before"], counts["after"]
    if before.equals(after):
        sizes = " to ".join(f"{size:,}" for size in sorted({before.min(), before.max()}))
        return f"an epoch uses all {before.sum():,} images once, {sizes} of each class"
    listed = [f"{name} {old} → {new}" for name, old, new in counts[:LISTED].to_numpy()]
    more = f" and {len(counts) - LISTED} more" if len(counts) > LISTED else ""
    return f"images of each class → images that an epoch uses: {', '.join(listed)}{more}"
