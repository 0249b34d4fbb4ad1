"""Manifest, links between copies, params → accepted and quarantined rows, report, Data Docs.

Data Docs are HTML pages that the library Great Expectations draws.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from components.params.validate import Validate
from components.validation.expectations import check_table, data_docs
from components.validation.measures import add_measures
from components.validation.overview import class_examples, copies, overview, value_counts
from components.validation.quarantine import quarantine_reasons, split_rows
from components.validation.rules import class_rules, image_rules, shortcut_rule
from components.validation.shortcuts import find_shortcuts
from components.validation.spellings import label_slips, spelling_counts
from components.validation.validation_report import ValidationReport


@dataclass(frozen=True)
class Validation:
    """The result of validation.

    report: the content of report.json. accepted: the rows of the manifest that later stages use.
    quarantine: all other rows of the manifest, with one more column, `reason`. docs: path of a page
    of the Data Docs → the HTML of the page.
    """

    report: ValidationReport
    accepted: pd.DataFrame
    quarantine: pd.DataFrame
    docs: dict[str, str]


def validate(manifest: pd.DataFrame, links: pd.DataFrame, params: Validate) -> Validation:
    """Check a manifest, and separate accepted from quarantined rows.

    manifest: the table of all images, one row for each file. links: the result of
    `duplicates.links.find_links`. params: the section `validate` of params.yaml. An expectation is
    an entry of this section, such as `images_per_class`.

    Bad data does not raise an error here; the report says what is wrong. Raises RuntimeError if
    Great Expectations cannot compute a result.

    Expectations on images are checked before expectations on classes, because the expectation
    `images_per_class` counts only images that are not quarantined yet. `images_per_class` also
    checks each label that the expectation `label_known` lists, even if no image has this label. If
    a class has too few images and `on_fail` of `images_per_class` is `quarantine`, all images of
    the class are quarantined.
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
        figures=class_examples(accepted) | overview(manifest),
        copies=copies(table, links),
    )
    return Validation(report, accepted, quarantine, data_docs([images, classes, facts]))


def _class_table(left: pd.DataFrame, labels: Iterable[str]) -> pd.DataFrame:
    """Return a table with one row for each label that is not blank.

    left: the rows of the manifest that are not quarantined yet. labels: labels that are in the
    result even if no row of `left` has them. The result has these columns:

    label: str, the label.
    images: int, the number of rows of `left` with this label.
    spellings: int, the number of labels that are spelled like this label, from `spelling_counts`.
    """
    counts = value_counts(left["label"], labels)
    table = pd.DataFrame(counts.items(), columns=["label", "images"])
    table = table[table["label"].str.strip() != ""]
    return table.assign(spellings=spelling_counts(table["label"]))
