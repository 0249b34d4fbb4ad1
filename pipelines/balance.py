"""Rows of the train split → data/balance: the balance plan, and the number of images per class."""

import logging

from components.params.balance import Balance
from components.training_set.balance import counts_table, plan
from pipelines import artifacts
from pipelines.formats import read_table, read_tree, write_table, write_tree

log = logging.getLogger(__name__)


def run(balance: Balance) -> None:
    """Write the balance plan and a table with the number of images of each class.

    The plan says, for each class, how many of its images an epoch uses, and the weight of each of
    these images in the loss.
    Raises UserError if the stage `prepare` has not run, or if a class has no training image.
    """
    class_names = read_tree(artifacts.STATISTICS)["class_names"]
    labels = read_table(artifacts.rows("train"))["label"]
    balance_plan = plan(balance.strategy, labels, class_names)
    counts = counts_table(balance_plan)
    write_tree(artifacts.PLAN, balance_plan)
    write_table(artifacts.COUNTS, counts)
    listed = ", ".join(f"{name} {before} → {after}" for name, before, after in counts.to_numpy())
    log.info(f"strategy {balance.strategy}; images per class → images per epoch: {listed}")
