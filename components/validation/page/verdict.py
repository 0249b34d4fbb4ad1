"""The tree of report.json → its verdict in one sentence, and expectations by what they cause."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.pages.words import counted
from components.validation.page.excerpts import Tree, reasons

# What an expectation comes to: failed ones by what they cause, the worst first.
OUTCOMES = ("stop", "quarantine", "warn", "met")


@dataclass(frozen=True)
class Verdict:
    """What comes of the data; kind: one of OUTCOMES."""

    kind: str
    title: str
    sentence: str


def verdict(report: Tree) -> Verdict:
    """Say what comes of the data: how much of it goes on, and what keeps the rest or the run."""
    out = report["rows"] - report["accepted"]
    if report["outcome"] == "stopped":
        return Verdict("stop", "The run stops here", f"{_stops(report)} {_accepted(report)}")
    kind, title = "met", "The run goes on"
    if out:
        kind, title = "quarantine", f"The run goes on without {counted(out, 'file')}"
    elif not report["passed"]:
        kind, title = "warn", "The run goes on, with warnings"
    return Verdict(kind, title, f"{_accepted(report)} {_warns(report)}".strip())


def outcome(expectation: Tree) -> str:
    """Return which of OUTCOMES an expectation comes to."""
    return "met" if expectation["passed"] else str(expectation["on_fail"])


def by_outcome(expectations: Sequence[Tree]) -> list[Tree]:
    """Return expectations with the worst first; those of one outcome keep their order."""
    return sorted(expectations, key=lambda found: OUTCOMES.index(outcome(found)))


def _failed(report: Tree, on_fail: str) -> list[str]:
    return [found["name"] for found in report["expectations"] if outcome(found) == on_fail]


def _accepted(report: Tree) -> str:
    rows, accepted = report["rows"], report["accepted"]
    if not rows:
        return "There is not a single file."
    if rows == accepted:
        return f"All {counted(rows, 'image is', 'images are')} accepted."
    return f"{accepted:,} of {counted(rows, 'file is', 'files are')} accepted{_mostly(report)}."


def _mostly(report: Tree) -> str:
    """Name the commonest reason; of equally common ones the first."""
    left, (reason, files) = report["quarantined"], next(iter(reasons(report).items()))
    why = f"for {reason}" if files == left else f"most often for {reason} ({files:,})"
    return f", the other {left:,} quarantined{',' * (files < left)} {why}"


def _stops(report: Tree) -> str:
    if stops := _failed(report, "stop"):
        *others, last = stops
        return f"Stopped by {', '.join(others) + ' and ' * bool(others)}{last}."
    return "Fewer than two classes are left."


def _warns(report: Tree) -> str:
    expectations = counted(len(report["expectations"]), "expectation")
    if report["passed"]:
        return f"All {expectations} are met."
    warnings = len(_failed(report, "warn"))
    return f"{warnings} of {expectations} {'warns' if warnings == 1 else 'warn'}." * bool(warnings)
