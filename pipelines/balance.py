"""Training rows → data/balance: a plan against unequal sizes of classes, and image counts."""

import logging

from components.params.balance import Balance
from components.training_set.balance import counts_table, plan
from pipelines import artifacts
from pipelines.formats import read_table, read_tree, write_table, write_tree

log = logging.getLogger(__name__)


def run(balance: Balance) -> None:
    """Plan how often training draws the images of each class, and how it weights the class.

    Raises UserError if the stage `prepare` has not run.
    """
    class_names = read_tree(artifacts.STATISTICS)["class_names"]
    labels = read_table(artifacts.rows("train"))["label"]
    balance_plan = plan(balance.strategy, labels, class_names)
    counts = counts_table(balance_plan)
    write_tree(artifacts.PLAN, balance_plan)
    write_table(artifacts.COUNTS, counts)
    listed = ", ".join(f"{name} {before} → {after}" for name, before, after in counts.to_numpy())
    log.info(f"{balance.strategy}, images per epoch: {listed}")
