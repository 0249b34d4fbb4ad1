"""Labels → sets of labels that are spelled alike.

Two labels are spelled alike if they differ only in upper and lower case, in blanks, or in how
Unicode encodes the same characters. A set of labels that are spelled alike is called a label slip,
because some of these labels are likely typing mistakes.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence

import pandas as pd


def spelling_counts(labels: pd.Series) -> pd.Series:
    """Return int [rows]: the number of labels that are spelled like the label of the row.

    The label of the row itself is counted, too.

    labels: str [rows]; all labels are different.

    >>> spelling_counts(pd.Series(["Cat", "cat ", "dog"])).tolist()
    [2, 2, 1]
    """
    return labels.groupby(labels.map(_fold)).transform("size")


def label_slips(labels: pd.Series) -> tuple[tuple[str, ...], ...]:
    """Return the sets of two or more labels that are spelled alike.

    labels: str [rows]; all labels are different.

    >>> label_slips(pd.Series(["Cat", "cat ", "dog"]))
    (('Cat', 'cat '),)
    """
    sets = labels.groupby(labels.map(_fold))
    return tuple(tuple(alike) for _, alike in sets if len(alike) > 1)


def distinct(labels: Sequence[str]) -> list[str]:
    """Return the labels as texts that look different.

    A label that looks the same as another one is followed by its characters in ASCII. Example: é is
    one character, `\\xe9`, or an e and an accent, `e\\u0301`.
    """
    looks = Counter(unicodedata.normalize("NFC", label) for label in labels)
    alike = [looks[unicodedata.normalize("NFC", label)] > 1 for label in labels]
    return [
        f"{label} ({ascii(label)[1:-1]})" if twin else label
        for label, twin in zip(labels, alike, strict=True)
    ]


def _fold(label: str) -> str:
    """Return a label in lower case, without blanks, in the Unicode normal form NFKC."""
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())
