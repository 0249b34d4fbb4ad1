"""splits → how close each class comes to the shares asked for, in a table and in words."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from components.params.split import SPLITS, Split
from components.splits.filling import Move
from components.splits.sides import stretches
from components.splits.splits import Splits

EXAMPLES = 5
SERIES = 0.1  # of what is held out, set aside: more of it than single copies would explain


@dataclass(frozen=True)
class Gap:
    """The share of a side in a class, and the share that was asked for."""

    label: str
    side: str
    images: int
    of: int
    asked: float

    def in_words(self) -> str:
        """Say it in one line."""
        share = self.images / self.of
        return (
            f"class {self.label}, {self.side} {share:.1%} ({self.images} of {self.of}) "
            f"for {self.asked:.1%}"
        )


def shares(rows: pd.DataFrame, params: Split) -> pd.DataFrame:
    """Return columns label, side, images, share, asked: each class, sorted, on each side.

    rows: columns label and split. share: of the images of the class, from 0 to 1; set-aside images
    do not count.
    """
    counts = rows.groupby(["label", "split"]).size()
    every = pd.MultiIndex.from_product([sorted(rows["label"].unique()), SPLITS])
    table = counts.reindex(every.set_names(["label", "side"]), fill_value=0)
    table = table.rename("images").reset_index()
    asked = {side: round(end - start, 6) for side, (start, end) in stretches(params).items()}
    of = table.groupby("label")["images"].transform("sum")
    return table.assign(share=(table["images"] / of).round(6), asked=table["side"].map(asked))


def widest_gap(table: pd.DataFrame) -> Gap:
    """Return the side of a class whose share is furthest from the one asked for."""
    row = table.loc[(table["share"] - table["asked"]).abs().idxmax()]
    of = int(table.loc[table["label"] == row["label"], "images"].sum())
    return Gap(str(row["label"]), str(row["side"]), int(row["images"]), of, float(row["asked"]))


def in_words(splits: Splits, table: pd.DataFrame, where: object) -> Iterator[str]:
    """Yield lines on a split: sizes, the widest gap, what was set aside or moved, folds.

    table: from `shares`. where: the file that lists what was set aside.
    """
    counts = table.groupby("side")["images"].sum()
    yield ", ".join(
        f"{side} {counts[side]} ({counts[side] / len(splits.rows):.1%})" for side in SPLITS
    )
    yield f"furthest from what was asked for: {widest_gap(table).in_words()}"
    if splits.moves:
        yield _moves_in_words(splits.moves)
    yield from _set_aside_in_words(splits, where)
    if "fold" in splits.rows:
        yield _folds_in_words(splits.rows)


def _moves_in_words(moves: tuple[Move, ...]) -> str:
    images = sum(move.images for move in moves)
    listed = ", ".join(f"{move.label} on {move.side}" for move in moves[:EXAMPLES])
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
            "so many copies across sides look like series, as from a video; name each series as a "
            "group (a table's column, or ingest.source.group: subfolder), and it stays whole"
        )


def _folds_in_words(rows: pd.DataFrame) -> str:
    sizes = rows["fold"].value_counts()
    of_class = rows.groupby(["label", "fold"]).size().unstack(fill_value=0)
    least = int(of_class.to_numpy().min())
    return (
        f"{len(sizes)} folds of {sizes.min()} to {sizes.max()} images; the class that one has "
        f"fewest of: {of_class.min(axis=1).idxmin()}, {least}"
    )
