"""metrics.json, verdict.json → rows of a table and a text that people read in Prefect."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def metric_rows(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[dict[str, str]]:
    """Yield a row per number in metrics.json: its dotted name, its value, and its interval.

    The interval is empty if the number has none.
    """
    intervals = _intervals(metrics)
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if not isinstance(value, Mapping):
            ends = " – ".join(map(_number, intervals.get(key, [])))
            yield {"metric": name, "value": _number(value), "interval": ends}
        elif value is not intervals:
            yield from metric_rows(value, f"{name}.")


def _intervals(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the mapping name → [low, high] at this level, or an empty mapping.

    A class may be called `intervals`. Its value holds no lists, so it is not returned.
    """
    intervals = metrics.get("intervals", {})
    values = intervals.values() if isinstance(intervals, Mapping) else [intervals]
    return intervals if all(isinstance(value, list) for value in values) else {}


def outcome_markdown(verdict: Mapping[str, Any], report: Path, run: str) -> str:
    """Return Markdown with the decision, its reasons, and links to the report and the MLflow run.

    verdict: the content of verdict.json.
    run: the address of the MLflow run, or words that say how to find the run.
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
    """Return an integer as it is, a float with four decimals, and None as a dash."""
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
