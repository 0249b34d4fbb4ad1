"""splits → a table and log lines: the share of each class that is in train, in val and in test.

The table and the log lines compare these shares with the shares that params.yaml asks for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from components.params.split import SPLITS, Split
from components.splits.filling import Move
from components.splits.placement import ranges
from components.splits.splits import Splits
from components.words import count_text

EXAMPLES = 5  # maximum number of moves that a log line names
# Each image first gets a split. If a copy of the image is in an earlier split (the order is train,
# val, test), the image is set aside: it is taken out of its split and is in no split. If more than
# this share of the images of val and test is set aside, a log line says that the data set may
# contain series, such as the frames of a video.
SERIES = 0.1


@dataclass(frozen=True)
class Gap:
    """The share of a class in a split, and the share that params.yaml asks for.

    label: the class. split: train, val or test. images: the number of images of the class in the
    split. of: the number of images of the class in all splits. asked: the share that params.yaml
    asks for, from 0 to 1.
    """

    label: str
    split: str
    images: int
    of: int
    asked: float

    def in_words(self) -> str:
        """Return a text with the actual share and the share that params.yaml asks for.

        >>> Gap("dog", "test", images=1, of=10, asked=0.15).in_words()
        'class dog, test 10.0% (1 of 10) instead of 15.0%'
        """
        share = self.images / self.of
        return (
            f"class {self.label}, {self.split} {share:.1%} ({self.images} of {self.of}) "
            f"instead of {self.asked:.1%}"
        )


def shares(rows: pd.DataFrame, params: Split) -> pd.DataFrame:
    """Return one row for each class and split, with the columns label, side, images, share, asked.

    rows: a table with the columns label and split, without the images that are set aside. params:
    the section `split` of params.yaml.

    The columns of the result are:

    label: the class.
    side: the split. The column is not named `split`, because the file shares.csv has a column
        `side` since an earlier version.
    images: the number of images of the class in the split.
    share: `images` divided by the number of images of the class in all splits, from 0 to 1.
    asked: the share that params.yaml asks for, from 0 to 1.
    """
    counts = rows.groupby(["label", "split"]).size()
    pairs = pd.MultiIndex.from_product([sorted(rows["label"].unique()), SPLITS])
    table = counts.reindex(pairs.set_names(["label", "side"]), fill_value=0)
    table = table.rename("images").reset_index()
    asked = {split: round(end - start, 6) for split, (start, end) in ranges(params).items()}
    of = table.groupby("label")["images"].transform("sum")
    return table.assign(share=(table["images"] / of).round(6), asked=table["side"].map(asked))


def widest_gap(table: pd.DataFrame) -> Gap:
    """Return the class and split whose share differs most from the share in params.yaml.

    table: the table from `shares`.
    """
    row = table.loc[(table["share"] - table["asked"]).abs().idxmax()]
    of = int(table.loc[table["label"] == row["label"], "images"].sum())
    return Gap(str(row["label"]), str(row["side"]), int(row["images"]), of, float(row["asked"]))


def in_words(splits: Splits, table: pd.DataFrame, where: object) -> Iterator[str]:
    """Yield log lines about the splits.

    They name the sizes of the splits, the class and split whose share differs most from the share
    in params.yaml, the moves, the number of images set aside, and the sizes of the folds.

    splits: the result of `assign_splits`. table: the table from `shares`. where: the path of the
    file that lists the images that were set aside.
    """
    counts = table.groupby("side")["images"].sum()
    yield ", ".join(
        f"{split} {counts[split]} ({counts[split] / len(splits.rows):.1%})" for split in SPLITS
    )
    yield f"largest difference from params.yaml: {widest_gap(table).in_words()}"
    if splits.moves:
        yield _moves_in_words(splits.moves)
    yield from _set_aside_in_words(splits, where)
    if "fold" in splits.rows:
        yield _folds_in_words(splits.rows)


def _moves_in_words(moves: tuple[Move, ...]) -> str:
    images = sum(move.images for move in moves)
    listed = ", ".join(f"{move.label} to {move.split}" for move in moves[:EXAMPLES])
    more = ", …" if len(moves) > EXAMPLES else ""
    return (
        f"{count_text(images, 'image was', 'images were')} moved, because a split had no image of "
        f"their class ({listed}{more}); they may move back when the class grows"
    )


def _set_aside_in_words(splits: Splits, where: object) -> Iterator[str]:
    count = len(splits.set_aside)
    if not count:
        return
    were = "was" if count == 1 else "were"
    held_out = count + int((splits.rows["split"] != "train").sum())
    kinds = splits.set_aside["reason"].value_counts().sort_index()
    listed = ", ".join(f"{kinds[kind]} × {kind}" for kind in kinds.index)
    yield (
        f"{count} of the {held_out} images of val and test {were} set aside ({listed}); {where} "
        "lists them"
    )
    if count > SERIES * held_out:
        yield (
            "so many images were set aside that the data set may contain series, such as the "
            "frames of a video; make each series a group, so that it stays in one split: name a "
            "column of your label table in `ingest.source.columns.group`, or put each series into "
            "a subfolder of its class and set `ingest.source.group: subfolder`"
        )


def _folds_in_words(rows: pd.DataFrame) -> str:
    sizes = rows["fold"].value_counts()
    of_class = rows.groupby(["label", "fold"]).size().unstack(fill_value=0)
    least = int(of_class.to_numpy().min())
    return (
        f"{len(sizes)} folds of {sizes.min()} to {sizes.max()} images; the smallest number of "
        f"images of a class in a fold is {least} (class {of_class.min(axis=1).idxmin()})"
    )
