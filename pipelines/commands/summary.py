"""metrics.json and verdict.json → the result of the last run, and the next commands to type."""

from components.registry.snapshot import read_snapshot
from pipelines import artifacts
from pipelines.commands.console import show_facts, show_lines, show_waiting
from pipelines.formats import read_tree


def show_summary() -> None:
    """Print the accuracy, the version, the verdict, the path of the report, and commands to type.

    Raises UserError if the stage `evaluate` or `register` has not run yet, or if MLflow does not
    answer.
    """
    metrics = read_tree(artifacts.METRICS)
    verdict = read_tree(artifacts.VERDICT)
    low, high = metrics["intervals"]["accuracy"]
    percent = f"{100 * metrics['confidence']:g} %"
    facts = {
        "test accuracy": f"{metrics['accuracy']:.4f} ({percent} interval {low:.4f} – {high:.4f}, "
        f"{metrics['images']} images)",
        "registered": f"{verdict['name']}, version {verdict['version']}",
        "verdict": "; ".join([verdict["decision"], *verdict["reasons"]]),
        "report": str(artifacts.REPORT),
    }
    show_facts("done", facts)
    reigning = read_snapshot(verdict["name"], show_waiting).champion
    promoted = reigning is not None and reigning.number == verdict["version"]
    decided = verdict["decision"] == "reject" or promoted
    command = "explain {}" if decided else 'promote {} --reason "…"'
    show_lines("next:", style="bold")
    show_lines("  fovea review", f"  fovea {command.format(verdict['version'])}", "  fovea ui")
