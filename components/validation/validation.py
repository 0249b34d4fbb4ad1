"""manifest, links between copies, params → accepted and quarantined rows, a report, Data Docs."""

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
    """The report, the manifest in two parts, and the Data Docs: path → HTML page."""

    report: ValidationReport
    accepted: pd.DataFrame
    quarantine: pd.DataFrame
    docs: dict[str, str]


def validate(manifest: pd.DataFrame, links: pd.DataFrame, params: Validate) -> Validation:
    """Check a manifest and split it. Bad data raises nothing here: the report says what is wrong.

    links: between copies, as `duplicates.links.find_links` returns them. Single images are checked
    first, then classes: `images_per_class` counts the images that are left of every class, and of
    every class that `label_known` lists. Where it quarantines, all images of a small class go.
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
    """Return label, images left, and spellings for every label that is not blank."""
    counts = value_counts(left["label"], labels)
    table = pd.DataFrame(counts.items(), columns=["label", "images"])
    table = table[table["label"].str.strip() != ""]
    return table.assign(spellings=spelling_counts(table["label"]))
