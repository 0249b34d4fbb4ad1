"""metrics.json, verdict.json → rows of a table and a few sentences, for people."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def metric_rows(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[dict[str, str]]:
    """Yield a row per number in metrics.json: dotted name, value, its interval if it has one."""
    intervals = _intervals(metrics)
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if not isinstance(value, Mapping):
            ends = " – ".join(map(_number, intervals.get(key, [])))
            yield {"metric": name, "value": _number(value), "interval": ends}
        elif value is not intervals:
            yield from metric_rows(value, f"{name}.")


def _intervals(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the table of [low, high] lists at this level; a class may have its name, too."""
    intervals = metrics.get("intervals", {})
    values = intervals.values() if isinstance(intervals, Mapping) else [intervals]
    return intervals if all(isinstance(value, list) for value in values) else {}


def outcome_markdown(verdict: Mapping[str, Any], report: Path, run: str) -> str:
    """Say what was decided and why, and where the report and the MLflow run are.

    verdict: the content of verdict.json. run: an address, or how to come to one.
    """
    version = verdict.get("version")
    registered = [f"Version {version}."] if version is not None else []
    return "\n\n".join(
        [
            f"# {verdict['decision']}",
            *registered,
            "\n".join(f"- {reason}" for reason in verdict["reasons"]),
            f"Report: {report.resolve().as_uri()}",
            f"MLflow run: {run}",
        ]
    )


def _number(value: float | None) -> str:
    """Write counts as they are, shares with four decimals, and what is undefined as a dash."""
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
