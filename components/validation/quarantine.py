"""manifest, findings → accepted rows, and quarantined rows with their reasons.

A row is either accepted or quarantined, never both and never neither. A row without pixels or
without a label is always quarantined, whatever `on_fail` says: it cannot be trained on.

An example of three images with the same pixels, where `duplicate_share` quarantines: a.png is too
small, so its reason is `size`. Of b.png and c.png the first stays, and c.png has the reason
`duplicate_share`. Were all three counted, b.png would go, too, and no copy would be left.
"""

from collections.abc import Iterable

import pandas as pd

from components.duplicates.links import repeats
from components.validation.findings import Finding


def quarantine_reasons(table: pd.DataFrame, findings: Iterable[Finding]) -> pd.Series:
    """Return str [rows]: why a row is quarantined, empty where it is accepted.

    It is the code of the fault and the names of the expectations that the row fails and that
    quarantine. table: as from `measures.add_measures`.
    """
    reason = table["fault"].fillna("").astype(object)
    for finding in findings:
        if finding.quarantines:
            offending = _offending_rows(finding, table[reason == ""], table)
            longer = (reason + ", ").where(reason != "", "") + finding.name
            reason = reason.where(~offending, longer)
    return reason.astype("str")


def _offending_rows(finding: Finding, left: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Return bool [rows of the table]: those that a finding quarantines.

    left: rows that no finding before it has quarantined. Surplus copies and small classes are
    looked for among these alone, so that the copy to keep is one that is still there.
    """
    if finding.name == "duplicate_share":
        offending = repeats(left["pixels_id"])
    elif finding.name == "near_duplicates":
        offending = repeats(left["cluster"])
    elif finding.name == "images_per_class":
        offending = left["label"].isin(finding.offenders)
    else:
        return table["path"].isin(finding.offenders)
    return offending.reindex(table.index, fill_value=False)


def split_rows(manifest: pd.DataFrame, reason: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return accepted rows, and quarantined rows with the column `reason`, in the given order."""
    is_out = reason != ""
    quarantine = manifest[is_out].assign(reason=reason[is_out])
    return manifest[~is_out].reset_index(drop=True), quarantine.reset_index(drop=True)
