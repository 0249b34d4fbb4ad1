"""Rows of the test images → slices, which are sets of images that have something in common.

There are two kinds of slices:

- A value of a column: `camera = phone` has the images with the value `phone` in the column `camera`
  of the user's table. `evaluate.slices` names the columns.
- A fact: the tenth of the test images that is smallest, darkest, most blurred, of lowest contrast
  or nearest to a training image. If more than a fifth of the images are equal in this, for example
  if all have the same size, there is no such slice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.errors import UserError
from components.evaluation.interval import Bools, Floats
from components.words import count_text, name_list, printable

SHARE = 0.1  # of the images that a fact takes
MOST_SHARE = 0.2  # of the images, if several are equal at the end of the tenth
MOST_VALUES = 50  # of a column
MISSING = "(none)"


@dataclass(frozen=True, eq=False)
class Members:
    """The images of a slice.

    name: such as `camera = phone` or `dark`. column: the column, or the name of the fact. rule:
    what the images have in common, such as `brightness at most 0.21`. inside: bool [N], True for
    the images of the slice.
    """

    name: str
    column: str
    rule: str
    inside: Bools


@dataclass(frozen=True)
class Fact:
    """A fact of an image. name: of the slice. words: of the values. lowest: False for a maximum."""

    name: str
    words: str
    lowest: bool = True


# The column with the fact → the fact. components/images/facts.py explains the first four columns.
FACTS = {
    "shorter_px": Fact("small", "shorter side in pixels"),
    "brightness": Fact("dark", "brightness"),
    "sharpness": Fact("blurred", "sharpness"),
    "contrast": Fact("low contrast", "contrast"),
    "similarity": Fact("near a training image", "similarity to a training image", lowest=False),
}


def slice_members(rows: pd.DataFrame, columns: Sequence[str], similarity: Floats) -> list[Members]:
    """Return all slices: those of the columns, then those of the facts.

    rows: the table of N test images: manifest rows with the facts width, height, brightness,
    sharpness and contrast. columns: the value `evaluate.slices`. similarity: float [N], see
    `training_similarity`.

    Raises UserError if a column is not in `rows`, has one value, or more than MOST_VALUES values.
    """
    facts = rows.assign(shorter_px=rows[["width", "height"]].min(axis=1), similarity=similarity)
    of_columns = [members for column in columns for members in _of_column(rows, column)]
    of_facts = [_of_fact(facts[column].to_numpy(float), fact) for column, fact in FACTS.items()]
    return [*of_columns, *(members for members in of_facts if members is not None)]


def check_columns(rows: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise UserError if a column makes no slices, as in `slice_members`."""
    for column in columns:
        _values(rows, column)


def _of_column(rows: pd.DataFrame, column: str) -> Iterator[Members]:
    """Yield the slices of a column, sorted by its values."""
    values = _values(rows, column)
    for name in sorted(values.unique()):
        rule = f"{column} = {name}"
        yield Members(rule, column, rule, (values == name).to_numpy())


def _values(rows: pd.DataFrame, column: str) -> pd.Series:
    """Return the values of a column as text. Empty cells are a value, too."""
    if column not in rows:
        few = [name for name in rows if 2 <= rows[name].nunique(dropna=False) <= MOST_VALUES]
        raise UserError(
            "evaluate.slices: the table of images has no such column; choose among "
            f"{name_list(few) or 'none'}, or write `slices: []`. Received: {printable(column)}"
        )
    values = rows[column].astype("object").where(rows[column].notna(), MISSING).astype(str)
    count = values.nunique()
    if not 2 <= count <= MOST_VALUES:
        raise UserError(
            f"evaluate.slices: a column must have 2 to {MOST_VALUES} values in the test split; "
            "name another column, or write groups of its values into your table. "
            f"Received: {printable(column)}, with {count_text(count, 'value')}"
        )
    return values


def _of_fact(values: Floats, fact: Fact) -> Members | None:
    """Return the images at the lowest (or highest) tenth of a fact; None if it tells too little.

    values: float [N]; NaN if the fact of an image is unknown.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    share = SHARE if fact.lowest else 1 - SHARE
    limit = float(np.quantile(known, share, method="lower" if fact.lowest else "higher"))
    inside = values <= limit if fact.lowest else values >= limit
    if inside.mean() > MOST_SHARE:
        return None
    rule = f"{fact.words} at {'most' if fact.lowest else 'least'} {limit:.4g}"
    return Members(fact.name, fact.name, rule, inside)
