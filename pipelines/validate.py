"""manifest.parquet → data/validate: accepted and quarantined rows, links, a report, Data Docs."""

from components.data.duplicates import find_links
from components.data.expectations import Validation
from components.data.expectations import validate as check
from components.files import written_whole
from components.params import Ingest, Validate
from components.progress import say
from pipelines import artifacts
from pipelines.suspected_labels import suspected_labels


def run(ingest: Ingest, validate: Validate) -> None:
    """Part the manifest, write down why, and only then stop where an expectation says so."""
    manifest = artifacts.read_table(artifacts.MANIFEST)
    links = find_links(manifest, validate.near_duplicates)
    validation = check(manifest.drop(columns="fingerprint"), links, validate)
    suspected = None
    if validation.report.outcome != "stopped":  # else there are surer things to mend first
        suspected = suspected_labels(validation.accepted, links, ingest, validate.label_errors)
    report = validation.report.tree() | {"label_errors": suspected}
    artifacts.write_table(artifacts.ACCEPTED, validation.accepted)
    artifacts.write_table(artifacts.QUARANTINE, validation.quarantine)
    artifacts.write_table(artifacts.DUPLICATES, links)
    artifacts.write_tree(artifacts.VALIDATION_REPORT, report)
    with written_whole(artifacts.DATA_DOCS) as folder:
        folder.mkdir()
        (folder / "index.html").write_text(validation.docs, encoding="utf-8")
    _say(validation)
    validation.report.check_may_go_on(artifacts.VALIDATION_REPORT)


def _say(validation: Validation) -> None:
    for finding in validation.report.findings:
        if not finding.passed:
            say(f"validate: {finding.name} failed ({finding.on_fail}): {finding.observed}")
    accepted, quarantined = len(validation.accepted), len(validation.quarantine)
    say(f"validate: {validation.report.outcome}; {accepted} accepted, {quarantined} quarantined")
