"""splits → the share of each class in each split beside the share asked for: a table, and words."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from components.params.split import SPLITS, Split
from components.splits.filling import Move
from components.splits.placement import ranges
from components.splits.splits import Splits

EXAMPLES = 5
SERIES = 0.1  # share of the held-out images; if more are set aside, they are likely videos


@dataclass(frozen=True)
class Gap:
    """How many images of a class a split has, of how many, and the share that was asked for."""

    label: str
    split: str
    images: int
    of: int
    asked: float

    def in_words(self) -> str:
        """Return one line.

        >>> Gap("dog", "test", images=1, of=10, asked=0.15).in_words()
        'class dog, test 10.0% (1 of 10) for 15.0%'
        """
        share = self.images / self.of
        return (
            f"class {self.label}, {self.split} {share:.1%} ({self.images} of {self.of}) "
            f"for {self.asked:.1%}"
        )


def shares(rows: pd.DataFrame, params: Split) -> pd.DataFrame:
    """Return columns label, side, images, share, asked: a row for each class and split.

    rows: columns label and split. side: the split, under the name that shares.csv has for it.
    share: of the images of the class, from 0 to 1; images that are set aside do not count.
    """
    counts = rows.groupby(["label", "split"]).size()
    pairs = pd.MultiIndex.from_product([sorted(rows["label"].unique()), SPLITS])
    table = counts.reindex(pairs.set_names(["label", "side"]), fill_value=0)
    table = table.rename("images").reset_index()
    asked = {split: round(end - start, 6) for split, (start, end) in ranges(params).items()}
    of = table.groupby("label")["images"].transform("sum")
    return table.assign(share=(table["images"] / of).round(6), asked=table["side"].map(asked))


def widest_gap(table: pd.DataFrame) -> Gap:
    """Return the class and split whose share is furthest from the one asked for."""
    row = table.loc[(table["share"] - table["asked"]).abs().idxmax()]
    of = int(table.loc[table["label"] == row["label"], "images"].sum())
    return Gap(str(row["label"]), str(row["side"]), int(row["images"]), of, float(row["asked"]))


def in_words(splits: Splits, table: pd.DataFrame, where: object) -> Iterator[str]:
    """Yield lines: the sizes, the widest gap, what was moved or set aside, the folds.

    table: from `shares`. where: the file that lists what was set aside.
    """
    counts = table.groupby("side")["images"].sum()
    yield ", ".join(
        f"{split} {counts[split]} ({counts[split] / len(splits.rows):.1%})" for split in SPLITS
    )
    yield f"furthest from what was asked for: {widest_gap(table).in_words()}"
    if splits.moves:
        yield _moves_in_words(splits.moves)
    yield from _set_aside_in_words(splits, where)
    if "fold" in splits.rows:
        yield _folds_in_words(splits.rows)


def _moves_in_words(moves: tuple[Move, ...]) -> str:
    images = sum(move.images for move in moves)
    listed = ", ".join(f"{move.label} in {move.split}" for move in moves[:EXAMPLES])
    more = ", …" if len(moves) > EXAMPLES else ""
    return (
        f"{images} images moved to where their class had none ({listed}{more}); they may move back "
        "when the class grows"
    )


def _set_aside_in_words(splits: Splits, where: object) -> Iterator[str]:
    count = len(splits.set_aside)
    if not count:
        return
    held_out = count + int((splits.rows["split"] != "train").sum())
    kinds = splits.set_aside["reason"].value_counts().sort_index()
    listed = ", ".join(f"{kinds[kind]} × {kind}" for kind in kinds.index)
    yield f"{count} of {held_out} held-out images set aside ({listed}), listed in {where}"
    if count > SERIES * held_out:
        yield (
            "so many copies across splits look like series, as from a video; name each series as a "
            "group (a table's column, or ingest.source.group: subfolder), and it stays whole"
        )


def _folds_in_words(rows: pd.DataFrame) -> str:
    sizes = rows["fold"].value_counts()
    of_class = rows.groupby(["label", "fold"]).size().unstack(fill_value=0)
    least = int(of_class.to_numpy().min())
    return (
        f"{len(sizes)} folds of {sizes.min()} to {sizes.max()} images; the fewest images of a "
        f"class in a fold: {least} of {of_class.min(axis=1).idxmin()}"
    )
