"""labels → those that are spelled alike: equal but for case and blanks."""

import unicodedata

import pandas as pd


def spelling_counts(labels: pd.Series) -> pd.Series:
    """Return int [rows], for distinct labels: how many labels are spelled alike.

    >>> spelling_counts(pd.Series(["Cat", "cat ", "dog"])).tolist()
    [2, 2, 1]
    """
    return labels.groupby(labels.map(_fold)).transform("size")


def label_slips(labels: pd.Series) -> tuple[tuple[str, ...], ...]:
    """Return the sets of two and more distinct labels that are spelled alike.

    >>> label_slips(pd.Series(["Cat", "cat ", "dog"]))
    (('Cat', 'cat '),)
    """
    sets = labels.groupby(labels.map(_fold))
    return tuple(tuple(alike) for _, alike in sets if len(alike) > 1)


def _fold(label: str) -> str:
    """Return a label without case, blanks and with one form for code points that look the same."""
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())
