"""manifest, findings → accepted rows, and quarantined rows with a reason.

Every row is either accepted or quarantined. A row without pixels or without a label cannot be
trained on, so it is always quarantined, whatever `on_fail` says.

An example: a.bmp, b.png and c.png have the same pixels, and both `format` and `duplicate_share`
quarantine. `format` allows only png, so a.bmp is quarantined first, with the reason `format`. Of
the two images that are left, b.png stays, and c.png is quarantined with the reason
`duplicate_share`. If a.bmp still counted as the copy to keep, b.png would be quarantined as well,
and no copy would be left.
"""

from collections.abc import Iterable

import pandas as pd

from components.duplicates.links import repeats
from components.validation.findings import Finding


def quarantine_reasons(table: pd.DataFrame, findings: Iterable[Finding]) -> pd.Series:
    """Return str [rows]: the reason of every quarantined row, and "" if a row is accepted.

    A reason is the code of the fault and the names of the failed expectations that quarantine,
    separated by ", ". table: the result of `measures.add_measures`.
    """
    reason = table["fault"].fillna("").astype(object)
    for finding in findings:
        if finding.quarantines:
            offending = _offending_rows(finding, table[reason == ""], table)
            longer = (reason + ", ").where(reason != "", "") + finding.name
            reason = reason.where(~offending, longer)
    return reason.astype("str")


def _offending_rows(finding: Finding, left: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Return bool [rows of the table]: True if the finding quarantines the row.

    left: the rows of the table that no earlier finding has quarantined. Surplus copies and small
    classes are searched among these rows only, so that the copy to keep is not quarantined already.
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
    """Return (accepted rows, quarantined rows), both in the order of the manifest.

    reason: the result of `quarantine_reasons`; the quarantined rows have it as a column.
    """
    is_out = reason != ""
    quarantine = manifest[is_out].assign(reason=reason[is_out])
    return manifest[~is_out].reset_index(drop=True), quarantine.reset_index(drop=True)
