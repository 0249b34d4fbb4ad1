"""metrics.json, verdict.json → rows of a table and a text that Prefect shows."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def metric_rows(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[dict[str, str]]:
    """Yield one table row for each number in metrics.json, with its name, value and interval.

    metrics: the content of metrics.json, or a mapping inside it. prefix: the start of every name.
    A name is the path of keys to the number, such as `classes.glass.recall`. The interval is an
    empty text if metrics.json has no interval for the number.
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
    """Return the intervals of `metrics`, metric name → [low, high], or an empty mapping.

    The intervals are the value of the key `intervals`, a mapping of lists. If `metrics` maps class
    names to the metrics of the classes, `intervals` can be the name of a class. The metrics of a
    class are not all lists. In this case the result is an empty mapping.
    """
    intervals = metrics.get("intervals", {})
    values = intervals.values() if isinstance(intervals, Mapping) else [intervals]
    return intervals if all(isinstance(value, list) for value in values) else {}


def outcome_markdown(verdict: Mapping[str, Any], report: Path, run: str) -> str:
    """Return Markdown: the decision, the version, the reasons, and links to report and MLflow run.

    verdict: the content of verdict.json. report: the path of the report.
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
    """Return a number as text: an integer in full, a float with four decimals, None as a dash."""
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
