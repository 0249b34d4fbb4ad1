"""manifest.parquet → data/validate: accepted and quarantined rows, copies, label scores, report.

A quarantined row is an image that later stages do not use.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pandas as pd

from components.duplicates.links import find_links
from components.files import write_whole
from components.images.decoder import Pixels, decode
from components.images.fault import Fault
from components.label_errors.suspects import NO_SCORES, LabelErrors
from components.manifest.difference import difference
from components.params.ingest import Decode, Ingest
from components.params.prepare import Prepare
from components.params.validate import Validate
from components.sources.reading import read_bytes
from components.validation.page.page import page, picture_paths
from components.validation.page.thumbnails import thumbnail
from components.validation.page.wording import OUTCOMES
from components.validation.validation import Validation
from components.validation.validation import validate as check
from components.words import count_text, number_text
from pipelines import artifacts
from pipelines.formats import read_table, write_table, write_text, write_tree
from pipelines.suspected_labels import frozen_classifier, suspected_labels
from pipelines.workspace.revisions import previous_manifest

log = logging.getLogger(__name__)


def run(ingest: Ingest, validate: Validate, prepare: Prepare) -> None:
    """Accept or quarantine every row, and write the report.

    Raises UserError if a rule of params.yaml stops the run, or if fewer than two classes are left.
    In these two cases all files are written first, so that the user can read the report.
    Also raises UserError if the stage `ingest` has not run, or if the model that finds wrong labels
    cannot be loaded.
    """
    manifest = read_table(artifacts.MANIFEST)
    links = find_links(manifest, validate.near_duplicates)
    validation = check(manifest.drop(columns="fingerprint"), links, validate)
    label_errors = None
    # If a rule stops the run, the user must first correct the errors that the rule found. So this
    # run does not search for wrong labels.
    if validation.report.outcome != "stopped":
        classifier = frozen_classifier(validate.label_errors, prepare)
        label_errors = suspected_labels(validation.accepted, links, ingest, classifier)
    report = validation.report.tree()
    accepted = validation.accepted
    report |= {
        "label_errors": label_errors and label_errors.tree(accepted["path"].tolist()),
        "difference": _difference(manifest),
    }

    write_table(artifacts.ACCEPTED, accepted)
    write_table(artifacts.QUARANTINE, validation.quarantine)
    write_table(artifacts.DUPLICATES, links)
    write_table(artifacts.LABEL_SCORES, _label_scores(accepted, label_errors))
    write_tree(artifacts.VALIDATION_REPORT, report)
    pictures = dict(thumbnails(picture_paths(report), ingest.decode))
    write_text(artifacts.VALIDATION_PAGE, page(report, pictures))
    with write_whole(artifacts.DATA_DOCS) as folder:
        for name, content in validation.docs.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")
    _log(validation)
    validation.report.check_may_go_on(artifacts.VALIDATION_REPORT)


def _label_scores(accepted: pd.DataFrame, label_errors: LabelErrors | None) -> pd.DataFrame:
    """Return how well the label of each accepted image fits. Empty if labels were not examined."""
    if label_errors is None:
        return NO_SCORES
    return label_errors.scores(accepted["path"].tolist(), accepted["label"].tolist())


def _difference(manifest: pd.DataFrame) -> dict[str, Any]:
    """Compare `manifest` with an earlier manifest, and return the difference for report.json.

    The earlier manifest is from the newest commit whose images differ from the current images.
    """
    previous = previous_manifest()
    if previous is None:
        return {
            "notes": [
                "Nothing to compare with: git's history and DVC's cache have no other version of "
                "the images."
            ]
        }
    commit, old = previous
    return {"revision": commit, "notes": [], **difference(old, manifest).tree()}


def thumbnails(paths: list[str], params: Decode) -> Iterator[tuple[str, Pixels]]:
    """Yield the path and the thumbnail of each image. Images that cannot be read are left out."""
    for path in paths:
        with suppress(Fault):
            data = read_bytes(artifacts.RAW, path, params.max_bytes, artifacts.STATE)
            yield path, thumbnail(decode(data, params).pixels)


def _log(validation: Validation) -> None:
    for finding in validation.report.findings:
        if not finding.passed:
            consequence = OUTCOMES[finding.on_fail][1]
            log.info(f"{finding.name}: {finding.rule}; {finding.observed} ({consequence})")
    if copies := _copies_text(validation.report.copies):
        log.info(copies)
    accepted, quarantined = len(validation.accepted), len(validation.quarantine)
    log.info(f"{count_text(accepted, 'file')} accepted, {number_text(quarantined)} quarantined")
    log.info(f"report: {artifacts.VALIDATION_PAGE}")


def _copies_text(copies: Mapping[str, Any]) -> str:
    """Return a sentence about copies; it is empty if there is no copy."""
    exact, near = copies["exact_copy_count"], copies["near_link_count"]
    if not exact + near:
        return ""
    across = copies["across_splits_count"]
    sets = count_text(across, "set of copies is", "sets of copies are")
    where = f"; {sets} in several of the given splits" if across else ""
    pairs = count_text(near, "pair of near copies", "pairs of near copies")
    return f"{count_text(exact, 'exact copy', 'exact copies')}, {pairs}{where}"
