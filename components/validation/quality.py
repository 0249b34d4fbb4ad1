"""manifest, links, what failed → what expectations are about, and accepted and quarantined rows.

A row is either accepted or quarantined, never both and never neither. A row without pixels or
without a label is always quarantined: whatever `on_fail` says, nobody can train on it.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.duplicates.links import label_counts, repeats

EXAMPLES = 20  # named in the report for one expectation; the quarantine table has them all
ENDS = ("path", "other")  # of a link
ALWAYS_OUT = "label_filled"  # as is `decodes`, by the code of the fault

Example = tuple[str, float | None]


@dataclass(frozen=True)
class Finding:
    """What one expectation found: its rule in words, and the paths (or labels) that break it.

    offenders: all of them, in the order of the table. examples: the first few, as (name, value);
    where a rule has bounds on one value, those that break them most, else the value is None.
    """

    name: str
    rule: str
    on_fail: str
    passed: bool
    observed: str
    offenders: tuple[str, ...]
    examples: tuple[Example, ...]

    @property
    def stops(self) -> bool:
        """True where the run must not go on."""
        return not self.passed and self.on_fail == "stop"

    @property
    def takes_out(self) -> bool:
        """True where rows are quarantined under the name of this expectation."""
        if self.passed or self.name == "decodes":
            return False
        return self.on_fail == "quarantine" or self.name == ALWAYS_OUT

    def tree(self) -> dict[str, Any]:
        """Return plain values, with the examples in place of all offenders."""
        examples = [{"name": name, "value": value} for name, value in self.examples]
        return asdict(self) | {"offenders": len(self.offenders), "examples": examples}


def measured(manifest: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with the columns that expectations speak of.

    shorter_px and longer_px: sides. side_factor: the root of an image's area, against that of the
    median image; null for a file that is no image. cluster: see `near_clusters`. labels_of_pixels,
    labels_of_cluster: labels under which the same pixels, or pixels nearly the same, occur.
    near_copy: 1 for all but the first image of a cluster. faulty and duplicate: 1.0 where a row is
    so, else 0.0, so that their mean is a share.
    """
    sides = manifest[["width", "height"]].astype(float)
    side = np.sqrt(sides["width"] * sides["height"]).where(manifest["pixels_id"].notna())
    cluster = near_clusters(manifest, links)
    return manifest.assign(
        shorter_px=sides.min(axis=1),
        longer_px=sides.max(axis=1),
        side_factor=side / side.median(),
        labels_of_pixels=label_counts(manifest["pixels_id"], manifest["label"]),
        cluster=cluster,
        labels_of_cluster=label_counts(cluster, manifest["label"]),
        near_copy=repeats(cluster).astype(int),
        faulty=manifest["fault"].notna().astype(float),
        duplicate=repeats(manifest["pixels_id"]).astype(float),
    )


def near_clusters(manifest: pd.DataFrame, links: pd.DataFrame) -> pd.Series:
    """Return Int64 [rows]: the number of a row's cluster, null where nothing is nearly like it.

    links: columns path, other, kind (exact or near) and cluster. Clusters of equal pixels alone do
    not count; where there are near copies, too, the equal ones belong to them.
    """
    links = links[links["cluster"].isin(links.loc[links["kind"] == "near", "cluster"])]
    ends = [links[[end, "cluster"]].set_axis(["path", "cluster"], axis=1) for end in ENDS]
    numbers = pd.concat(ends).drop_duplicates("path").set_index("path")["cluster"]
    return manifest["path"].map(numbers).astype("Int64")


def spellings(labels: pd.Series) -> pd.Series:
    """Return int [rows], for distinct labels: how many are alike but for case and blanks."""
    return labels.groupby(labels.map(_folded)).transform("size")


def alike(labels: pd.Series) -> tuple[tuple[str, ...], ...]:
    """Return the sets of two and more distinct labels that are alike but for case and blanks."""
    sets = labels.groupby(labels.map(_folded))
    return tuple(tuple(spelled) for _, spelled in sets if len(spelled) > 1)


def reasons(table: pd.DataFrame, findings: Iterable[Finding]) -> pd.Series:
    """Return str [rows]: why a row leaves, empty where it stays.

    It is the code of the fault and the names of the expectations that a row fails and that
    quarantine. Surplus copies and small classes are looked for among the rows that all findings
    before have left. table: as from `measured`.
    """
    reason = table["fault"].fillna("").astype(object)
    for finding in findings:
        if finding.takes_out:
            blamed = _blamed(finding, table[reason == ""], table)
            more = (reason + ", ").where(reason != "", "") + finding.name
            reason = reason.where(~blamed, more)
    return reason.astype("str")


def parted(manifest: pd.DataFrame, reason: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return accepted rows, and quarantined rows with the column `reason`, in the given order."""
    leaves = reason != ""
    quarantine = manifest[leaves].assign(reason=reason[leaves])
    return manifest[~leaves].reset_index(drop=True), quarantine.reset_index(drop=True)


def counted(values: pd.Series, also: Iterable[str] = ()) -> dict[str, int]:
    """Return how often each value occurs, sorted by value; 0 for those of `also` that do not."""
    found = values.value_counts().to_dict()
    return {str(value): int(found.get(value, 0)) for value in sorted({*found, *also})}


def _folded(label: str) -> str:
    """Return a label without case, blanks and differences of code points that look the same."""
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())


def _blamed(finding: Finding, left: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Return bool [rows of the table]: those that a finding takes out.

    left: rows that no finding before it has taken out. Of copies one must be left, so not all that
    the finding names go, and which do depends on what is still there.
    """
    if finding.name == "duplicate_share":
        blamed = repeats(left["pixels_id"])
    elif finding.name == "near_duplicates":
        blamed = repeats(left["cluster"])
    elif finding.name == "images_per_class":
        blamed = left["label"].isin(finding.offenders)
    else:
        return table["path"].isin(finding.offenders)
    return blamed.reindex(table.index, fill_value=False)
