"""manifest, links between copies, params → accepted rows, quarantined rows, report, Data Docs."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from components.params.validate import Validate
from components.validation.expectations import check_table, data_docs
from components.validation.measures import add_measures
from components.validation.overview import copies, overview, value_counts
from components.validation.quarantine import quarantine_reasons, split_rows
from components.validation.rules import class_rules, image_rules, shortcut_rule
from components.validation.shortcuts import find_shortcuts
from components.validation.spellings import label_slips, spelling_counts
from components.validation.validation_report import ValidationReport


@dataclass(frozen=True)
class Validation:
    """The result of validation.

    accepted, quarantine: the rows of the manifest in two parts; quarantine has a column `reason`.
    docs: path → HTML page of the Data Docs.
    """

    report: ValidationReport
    accepted: pd.DataFrame
    quarantine: pd.DataFrame
    docs: dict[str, str]


def validate(manifest: pd.DataFrame, links: pd.DataFrame, params: Validate) -> Validation:
    """Check a manifest, and separate accepted from quarantined rows.

    Bad data raises no error here: the report says what is wrong. links: the result of
    `duplicates.links.find_links`.

    Expectations on images are checked first, then expectations on classes, because
    `images_per_class` counts only images that are not quarantined yet. It also counts classes that
    `label_known` lists and that have no image. If `images_per_class` quarantines, it quarantines
    all images of a class that is too small.
    """
    table = add_measures(manifest, links)
    images = check_table("images", "path", table, image_rules(params))
    left = table[quarantine_reasons(table, images.findings) == ""]

    known = () if params.label_known.labels == "any" else params.label_known.labels
    before = value_counts(manifest["label"], known)
    class_table = _class_table(left, before)
    classes = check_table("classes", "label", class_table, class_rules(params))
    shortcuts = find_shortcuts(manifest)
    facts = check_table("shortcuts", "label", shortcuts.table, [shortcut_rule(params)])

    findings = (*images.findings, *classes.findings, *facts.findings)
    accepted, quarantine = split_rows(manifest, quarantine_reasons(table, findings))
    report = ValidationReport(
        findings=findings,
        before=before,
        after=value_counts(accepted["label"], before),
        reasons=value_counts(quarantine["reason"]),
        slips=label_slips(class_table["label"]),
        shortcuts=shortcuts,
        figures=overview(manifest),
        copies=copies(table, links),
    )
    return Validation(report, accepted, quarantine, data_docs([images, classes, facts]))


def _class_table(left: pd.DataFrame, labels: Iterable[str]) -> pd.DataFrame:
    """Return a table with one row for each label that is not blank.

    Columns: label, images (how many of `left` have it) and spellings (from `spelling_counts`).
    """
    counts = value_counts(left["label"], labels)
    table = pd.DataFrame(counts.items(), columns=["label", "images"])
    table = table[table["label"].str.strip() != ""]
    return table.assign(spellings=spelling_counts(table["label"]))
