"""Two manifests → what changed from the old one to the new one, image by image and per class.

A manifest is a table with one row for each image file. An image is identified by the hash of its
bytes (image_id), so a renamed file is not a new image. Copies are counted separately. If the old
manifest has three equal files and the new manifest has two of these files, one image is removed.

Rows of the two manifests are matched in several passes (KINDS). The first pass compares the most
columns. A row that is matched in one pass does not take part in the next passes. Example with three
images in each manifest (the letters A to D stand for the bytes of the files):

    old: cat/1.png A   cat/2.png B   dog/3.png C
    new: cat/1.png A   dog/2.png B   dog/3.png D

cat/1.png is unchanged. cat/2.png is relabelled, since dog/2.png has the same bytes. dog/3.png is
changed, since the same path has other bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

KEYS = ["path", "label", "image_id"]
# The passes in their order. The name of a pass is the kind of change that it finds. The list of a
# pass has the columns that are compared. A row of the old manifest and a row of the new manifest
# match if their values in all columns of the list are equal.
KINDS = {
    "unchanged": ["path", "label", "image_id"],
    "relabelled_in_place": ["path", "image_id"],
    "moved": ["label", "image_id"],
    "relabelled": ["image_id"],
    "changed": ["path"],
}
EXAMPLES = 5  # maximum number of images that are listed for each kind of change


@dataclass(frozen=True)
class Difference:
    """The images of each kind of change, in tables that are sorted by path.

    unchanged: the number of images with the same path, label and bytes.
    added, removed: tables with the columns path and label.
    moved, relabelled, changed: tables with the columns path and label (from the new manifest),
    old_path and old_label (from the old manifest). A moved image has the same bytes and label, but
    another path. A relabelled image has the same bytes, but another label; its path may differ. If
    the path is the same, but the bytes differ, the image is changed.
    before, after: label → number of images in the old and in the new manifest. The label of
    unlabelled images is "".
    """

    unchanged: int
    added: pd.DataFrame
    removed: pd.DataFrame
    moved: pd.DataFrame
    relabelled: pd.DataFrame
    changed: pd.DataFrame
    before: Mapping[str, int]
    after: Mapping[str, int]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The table of each kind of change, in the order in which reports show the kinds."""
        kinds = ("added", "removed", "relabelled", "moved", "changed")
        return {kind: getattr(self, kind) for kind in kinds}

    @property
    def is_empty(self) -> bool:
        """Whether the two manifests have the same images with the same paths and labels."""
        return not any(map(len, self.tables.values()))

    @cached_property
    def per_class(self) -> pd.DataFrame:
        """A table with one row for each label of the old or new manifest, sorted by label.

        Columns: label (str) and the counts before, after, added, removed, relabelled_to,
        relabelled_from, moved, changed (int64). An image that is moved or changed is counted at its
        new label. The counts of each label satisfy this equation:

            after = before + added - removed + relabelled_to - relabelled_from

        There is one exception. If both the bytes and the label at a path have changed, the image is
        counted only in `changed`. So the equation is not true for the two labels of this image.
        """
        counts = {
            "before": pd.Series(self.before, dtype="int64"),
            "after": pd.Series(self.after, dtype="int64"),
            "added": _count(self.added["label"]),
            "removed": _count(self.removed["label"]),
            "relabelled_to": _count(self.relabelled["label"]),
            "relabelled_from": _count(self.relabelled["old_label"]),
            "moved": _count(self.moved["label"]),
            "changed": _count(self.changed["label"]),
        }
        table = pd.DataFrame(counts).fillna(0).astype("int64").sort_index()
        return table.rename_axis("label").reset_index()

    def tree(self, examples: int = EXAMPLES) -> dict[str, Any]:
        """Return the difference as values for JSON.

        The result has the number of unchanged images, the number of images and some examples for
        each kind of change, and the rows of `per_class`.
        examples: the maximum number of images that are listed for each kind of change.
        """
        kinds = {
            kind: {"images": len(table), "examples": _records(table.head(examples))}
            for kind, table in self.tables.items()
        }
        return {"unchanged": self.unchanged, **kinds, "per_class": _records(self.per_class)}


def difference(old: pd.DataFrame, new: pd.DataFrame) -> Difference:
    """Compare two manifests. Only their columns path, label and image_id are used.

    A file that could not be read has no image_id. Its row is compared by path and label only. If
    several rows have equal values in the compared columns, these rows are matched in the order of
    their paths.
    """
    before, after = _rows(old), _rows(new)
    left, right, matches = before, after, {}
    for kind, columns in KINDS.items():
        pairs = _pairs(left, right, columns)
        left, right = left.drop(pairs["old_row"]), right.drop(pairs["row"])
        matches[kind] = pairs[["path", "label", "old_path", "old_label"]]
    relabelled = pd.concat([matches["relabelled_in_place"], matches["relabelled"]])
    return Difference(
        unchanged=len(matches["unchanged"]),
        added=_sort(right[["path", "label"]]),
        removed=_sort(left[["path", "label"]]),
        moved=_sort(matches["moved"]),
        relabelled=_sort(relabelled),
        changed=_sort(matches["changed"]),
        before=_count(before["label"]).to_dict(),
        after=_count(after["label"]).to_dict(),
    )


def _rows(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the columns KEYS as text, sorted by path; a null becomes an empty text."""
    rows = manifest[KEYS].astype("object").where(manifest[KEYS].notna(), "").astype("str")
    return rows.sort_values(KEYS, kind="stable", ignore_index=True)


def _pairs(old: pd.DataFrame, new: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Match rows that are equal in `columns`; the result has one row for each match."""
    # A file that could not be read has the image_id "". Equal values "" do not mean equal images.
    if "path" not in columns:
        old, new = old[old["image_id"] != ""], new[new["image_id"] != ""]
    # The column nth numbers the rows that are equal in `columns`. So the first of these rows in the
    # old manifest is matched with the first in the new manifest, and so on.
    old, new = (
        rows.assign(nth=rows.groupby(columns, sort=False).cumcount(), row=rows.index)
        for rows in (old.rename_axis(None), new.rename_axis(None))
    )
    renamed = old.rename(columns={name: f"old_{name}" for name in ("row", *KEYS)})
    renamed[columns] = old[columns]
    return new.merge(renamed, on=[*columns, "nth"], how="inner")


def _sort(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(list(table.columns), ignore_index=True)


def _count(labels: pd.Series) -> pd.Series:
    return labels.value_counts().sort_index()


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
