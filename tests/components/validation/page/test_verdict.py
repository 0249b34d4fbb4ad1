"""The verdict: one sentence that says what comes of the data, and why."""

import pytest

from components.validation.page.page import expectations_by_outcome, verdict


def expectation(name: str, on_fail: str = "warn", passed: bool = True) -> dict:
    return {"name": name, "on_fail": on_fail, "passed": passed}


def tree(outcome: str, *expectations: dict, reasons: dict | None = None, rows: int = 1200) -> dict:
    reasons = reasons or {}
    out = sum(reasons.values())
    return {
        "outcome": outcome,
        "passed": all(found["passed"] for found in expectations),
        "expectations": expectations,
        "quarantined_by_reason": reasons,
        "rows": rows,
        "accepted": rows - out,
        "quarantined": out,
    }


FINE, ALSO_FINE = expectation("size"), expectation("fault_share", "stop")
DARK = expectation("dark", passed=False)
BROKEN = expectation("decodes", "quarantine", passed=False)
STOPS = expectation("fault_share", "stop", passed=False)
STOPS_TOO = expectation("label_known", "stop", passed=False)


@pytest.mark.parametrize(
    ("report", "kind", "sentence"),
    [
        (
            tree("passed", FINE, ALSO_FINE),
            "met",
            "All 1,200 images are accepted. All 2 expectations are met.",
        ),
        (
            tree("passed with warnings", FINE, DARK),
            "warn",
            "All 1,200 images are accepted. 1 of 2 expectations warns.",
        ),
        (
            tree("quarantined", BROKEN, reasons={"truncated": 2, "truncated, size": 1}),
            "quarantine",
            "1,197 of 1,200 files are accepted, the other 3 quarantined for truncated.",
        ),
        (
            tree("quarantined", BROKEN, DARK, reasons={"truncated": 2, "empty_file": 3}),
            "quarantine",
            "1,195 of 1,200 files are accepted, the other 5 quarantined, most often for "
            "empty_file (3). 1 of 2 expectations warns.",
        ),
        (
            tree("stopped", STOPS, FINE, STOPS_TOO),
            "stop",
            "Stopped by fault_share and label_known. All 1,200 images are accepted.",
        ),
        (
            tree("stopped", FINE, rows=1),
            "stop",
            "Fewer than two classes are left. All 1 image is accepted.",
        ),
        (
            tree("stopped", STOPS, rows=0),
            "stop",
            "Stopped by fault_share. There is not a single file.",
        ),
    ],
)
def test_the_verdict_says_what_goes_on_and_why_the_rest_does_not(
    report: dict, kind: str, sentence: str
) -> None:
    assert (verdict(report)["kind"], verdict(report)["sentence"]) == (kind, sentence)


def test_what_stops_the_run_stands_before_what_only_warns() -> None:
    ranked = expectations_by_outcome([FINE, DARK, ALSO_FINE, BROKEN, STOPS])
    assert ranked == [STOPS, BROKEN, DARK, FINE, ALSO_FINE]
