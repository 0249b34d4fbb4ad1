"""Two manifests → what changed from the old one to the new one, image by image and per class.

An image is identified by its bytes (image_id), so a renamed file is no new image. Copies count:
where three equal files became two, one is removed.

Rows of the two manifests are matched in passes, the surest first (KINDS); rows that a pass has
matched are left out of the next. With three images in the old manifest and three in the new one,

    old: cat/1.png A   cat/2.png B   dog/3.png C        (A, B and C are their bytes)
    new: cat/1.png A   dog/2.png B   dog/3.png D

cat/1.png is unchanged, cat/2.png is relabelled to dog/2.png (the same bytes), and dog/3.png is
changed (the same path).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

KEYS = ["path", "label", "image_id"]
# The passes, in this order: a row of the old manifest and one of the new match where these columns
# are equal.
KINDS = {
    "unchanged": ["path", "label", "image_id"],
    "relabelled_in_place": ["path", "image_id"],
    "moved": ["label", "image_id"],
    "relabelled": ["image_id"],
    "changed": ["path"],
}
EXAMPLES = 5


@dataclass(frozen=True)
class Difference:
    """What became of the images; tables are sorted by path.

    added, removed: columns path, label. moved, relabelled, changed: path, label, old_path and
    old_label, in the new and the old manifest. moved: same bytes and label, other path; relabelled:
    same bytes, other label, whether or not the path is another; changed: same path, other bytes.
    before, after: label → number of images; images without a label count below "".
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
        """Kind of change → its images, in the order in which they are shown."""
        kinds = ("added", "removed", "relabelled", "moved", "changed")
        return {kind: getattr(self, kind) for kind in kinds}

    @property
    def is_empty(self) -> bool:
        """Whether both manifests hold the same images under the same paths and labels."""
        return not any(map(len, self.tables.values()))

    @cached_property
    def per_class(self) -> pd.DataFrame:
        """One row per label of either manifest, sorted, as whole numbers.

        Columns: label, before, after, added, removed, relabelled_to, relabelled_from, moved,
        changed. after = before + added - removed + relabelled_to - relabelled_from, but for images
        whose bytes and label changed at once.
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
        """Return the difference for a JSON report: counts, first examples of each kind, classes."""
        kinds = {
            kind: {"images": len(table), "examples": _records(table.head(examples))}
            for kind, table in self.tables.items()
        }
        return {"unchanged": self.unchanged, **kinds, "per_class": _records(self.per_class)}


def difference(old: pd.DataFrame, new: pd.DataFrame) -> Difference:
    """Compare two manifests; of each only the columns path, label and image_id are read.

    Rows without an image_id (files that could not be read) are compared by path and label alone.
    Where several rows match equally well, they are paired in the order of their paths.
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
    """Return the compared columns as text, sorted by path; null becomes empty."""
    rows = manifest[KEYS].astype("object").where(manifest[KEYS].notna(), "").astype("str")
    return rows.sort_values(KEYS, kind="stable", ignore_index=True)


def _pairs(old: pd.DataFrame, new: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Match rows that agree in `columns`, the n-th of equal ones with the n-th."""
    if "path" not in columns:  # two unreadable files at two paths are not the same image
        old, new = old[old["image_id"] != ""], new[new["image_id"] != ""]
    # nth: of copies, which have equal columns, the first is paired with the first, and so on.
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
