"""Manifest and findings → accepted rows, and quarantined rows with a reason.

Every row is either accepted or quarantined. A row whose file cannot be decoded, or that has no
label, cannot be used for training. So it is quarantined even if `on_fail` is not `quarantine`.

An example of three images: a.bmp, b.png and c.png have the same pixels. The expectations `format`
and `duplicate_share` fail, and `on_fail` of both is `quarantine`. First, a.bmp is quarantined with
the reason `format`, because `format` allows only png. Then `duplicate_share` keeps one of the two
images that are left: b.png is accepted, and c.png is quarantined with the reason `duplicate_share`.
A quarantined image is never the copy that is kept. If a.bmp were the kept copy, b.png and c.png
would be quarantined as copies of a.bmp, and none of the three images would be accepted.
"""

from collections.abc import Iterable

import pandas as pd

from components.duplicates.links import repeats
from components.validation.findings import Finding


def quarantine_reasons(table: pd.DataFrame, findings: Iterable[Finding]) -> pd.Series:
    """Return str [rows]: the reason of every quarantined row, and "" if a row is accepted.

    A reason is a text. It has the code of the fault of the file, if there is one, and the names of
    the expectations that quarantine the row, separated by ", ".

    table: the result of `measures.add_measures`. findings: the findings in the order in which they
    quarantine rows.
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

    left: the rows of the table that are not quarantined yet. Only these rows are searched for
    surplus copies, so that the copy that is kept is never a quarantined image. Only these rows are
    also searched for images of small classes.
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

    reason: the result of `quarantine_reasons`. The quarantined rows get it as the column `reason`.
    """
    is_out = reason != ""
    quarantine = manifest[is_out].assign(reason=reason[is_out])
    return manifest[~is_out].reset_index(drop=True), quarantine.reset_index(drop=True)
