"""labels → sets of labels that are spelled alike: they differ only in case and blanks."""

import unicodedata

import pandas as pd


def spelling_counts(labels: pd.Series) -> pd.Series:
    """Return int [rows]: how many of the labels are spelled like this one, itself included.

    labels: str [rows], all different.

    >>> spelling_counts(pd.Series(["Cat", "cat ", "dog"])).tolist()
    [2, 2, 1]
    """
    return labels.groupby(labels.map(_fold)).transform("size")


def label_slips(labels: pd.Series) -> tuple[tuple[str, ...], ...]:
    """Return the sets of two or more labels that are spelled alike.

    labels: str [rows], all different.

    >>> label_slips(pd.Series(["Cat", "cat ", "dog"]))
    (('Cat', 'cat '),)
    """
    sets = labels.groupby(labels.map(_fold))
    return tuple(tuple(alike) for _, alike in sets if len(alike) > 1)


def _fold(label: str) -> str:
    """Return a label in lower case, without blanks, in one Unicode form (NFKC)."""
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())
