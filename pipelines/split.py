"""accepted.parquet → data/split/splits.parquet: adds `split` = train, val or test."""

from components.data.splits import SIDES, assign_splits, widest_gap
from components.params import Split
from components.progress import say
from pipelines import artifacts


def run(seed: int, split: Split) -> None:
    """Give every accepted image its side."""
    splits = assign_splits(artifacts.read_table(artifacts.ACCEPTED), split, seed)
    artifacts.write_table(artifacts.SPLITS, splits)
    counts = splits["split"].value_counts()
    listed = ", ".join(
        f"{side} {counts[side]} ({counts[side] / len(splits):.1%})" for side in SIDES
    )
    say(f"split: {listed}")
    say(f"split: furthest from what was asked for: {widest_gap(splits, split).in_words()}")
