"""Manifest and findings → accepted rows, and quarantined rows with a reason.

A finding is the result of one expectation, which is an entry of the section `validate` of
params.yaml. Every row is either accepted or quarantined. A row cannot be used for training if its
file cannot be decoded, or if it has no label. Such a row is quarantined even if `on_fail` of the
expectation is not `quarantine`.

Example: a.bmp, b.png and c.png have the same pixels. The data fail the expectations `format` and
`duplicate_share`, and `on_fail` of these two expectations is `quarantine`. First, a.bmp is
quarantined with the reason `format`, because `format` allows only png. Then `duplicate_share`
accepts only one of b.png and c.png: b.png is accepted, and c.png is quarantined with the reason
`duplicate_share`. An image that is already quarantined, such as a.bmp, is never chosen as the
accepted copy. Otherwise b.png and c.png would be quarantined as copies of a.bmp, and none of the
three images would be accepted.
"""

from collections.abc import Iterable

import pandas as pd

from components.duplicates.links import repeats
from components.validation.findings import Finding


def quarantine_reasons(table: pd.DataFrame, findings: Iterable[Finding]) -> pd.Series:
    """Return str [rows]: the reason of every quarantined row; "" if the row is accepted.

    A reason is a text, such as `dark, blurry`. It contains the names of all expectations that
    quarantine the row, separated by ", ". If the file has a fault, the reason begins with the code
    of the fault.

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

    left: the rows of the table that are not quarantined yet. The two expectations on copies keep
    one image of each set of copies and quarantine the other images of the set. They look only at
    the rows of `left`, so that the kept image is never an image that is already quarantined. The
    expectation on the number of images of a class also looks only at the rows of `left`.
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
    """Return (accepted rows, quarantined rows), each in the order of the manifest.

    reason: the result of `quarantine_reasons`. The table of the quarantined rows has it as the
    column `reason`.
    """
    is_out = reason != ""
    quarantine = manifest[is_out].assign(reason=reason[is_out])
    return manifest[~is_out].reset_index(drop=True), quarantine.reset_index(drop=True)
