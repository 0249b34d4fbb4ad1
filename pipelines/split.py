"""accepted.parquet, duplicates.parquet → data/split: sides, what is set aside, and shares."""

from components.data.splitting.leaks import check_no_leaks
from components.data.splitting.shares import in_words, shares
from components.data.splitting.splits import assign_splits, check_given, given_leaks
from components.params import Split
from components.progress import say
from pipelines import artifacts


def run(seed: int, split: Split) -> None:
    """Give every accepted image its side, or set it aside; write only what has no leak."""
    accepted = artifacts.read_table(artifacts.ACCEPTED)
    links = artifacts.read_table(artifacts.DUPLICATES)
    leaks = given_leaks(accepted, links, split, seed)
    artifacts.write_table(artifacts.LEAKS, leaks)
    check_given(leaks, split, artifacts.LEAKS)
    splits = assign_splits(accepted, links, split, seed)
    check_no_leaks(splits.rows, links)
    table = shares(splits.rows, split)
    artifacts.write_table(artifacts.SPLITS, splits.rows)
    artifacts.write_table(artifacts.SET_ASIDE, splits.set_aside)
    artifacts.write_table(artifacts.SHARES, table)
    for line in in_words(splits, table, artifacts.SET_ASIDE):
        say(f"split: {line}")
