"""manifest.parquet → data/validate: accepted and quarantined rows, a report, and Data Docs."""

from components.data.expectations import validate as check
from components.data.quality import check_may_go_on
from components.files import written_whole
from components.params import Validate
from components.progress import say
from pipelines import artifacts


def run(validate: Validate) -> None:
    """Part the manifest, write down why, and only then stop where an expectation says so."""
    validation = check(artifacts.read_table(artifacts.MANIFEST), validate)
    report = validation.report
    artifacts.write_table(artifacts.ACCEPTED, validation.accepted)
    artifacts.write_table(artifacts.QUARANTINE, validation.quarantine)
    artifacts.write_tree(artifacts.VALIDATION_REPORT, report.tree())
    with written_whole(artifacts.DATA_DOCS) as folder:
        folder.mkdir()
        (folder / "index.html").write_text(validation.docs, encoding="utf-8")
    for finding in report.findings:
        if not finding.passed:
            say(f"validate: {finding.name} failed ({finding.on_fail}): {finding.observed}")
    say(f"validate: {len(validation.accepted)} accepted, {len(validation.quarantine)} quarantined")
    check_may_go_on(report, artifacts.VALIDATION_REPORT)
