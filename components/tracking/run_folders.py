"""The names of folders and files among the artifacts of a run.

MLflow's page lists artifacts by the alphabet, digits first. So the numbers put what a reviewer
reads first at the top: the register report, the test report, the report on the data, the model
card, the exports.
"""

REGISTER_REPORT = "1-register-report"
TEST_REPORT = "2-test-report"
DATA_REPORT = "3-data-report"
MODEL_CARD = "4-model-card"
EVALUATION = "evaluate"
EXPORTS = "5-exports"
TEST_REPORT_PAGE = f"{TEST_REPORT}/report.html"
# Runs of an older Fovea have the verdict in this folder.
OLD_REGISTER = "register"


def verdict_paths(name: str) -> tuple[str, str]:
    """Return where verdict.json may be in a run, the newest place first.

    name: the name of the registered model, because one run may be registered under several names.
    """
    return f"{REGISTER_REPORT}/{name}/verdict.json", f"{OLD_REGISTER}/{name}/verdict.json"
