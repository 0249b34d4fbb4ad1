"""Training rows → data/balance/plan.json and counts.csv: what is done about unequal classes."""

from components.data.balancing import counts_table, plan
from components.params import Balance
from components.progress import say
from pipelines import artifacts


def run(balance: Balance) -> None:
    """Plan how training draws and weighs the classes."""
    class_names = artifacts.read_tree(artifacts.STATISTICS)["class_names"]
    labels = artifacts.read_table(artifacts.rows("train"))["label"]
    balance_plan = plan(balance.strategy, labels, class_names)
    counts = counts_table(balance_plan)
    artifacts.write_tree(artifacts.PLAN, balance_plan)
    artifacts.write_table(artifacts.COUNTS, counts)
    listed = ", ".join(f"{name} {before} → {after}" for name, before, after in counts.to_numpy())
    say(f"balance: {balance.strategy}, images an epoch: {listed}")
