"""metrics.json and verdict.json → the result of the last run, and the next commands to type."""

from components.files import sha256
from components.registry.versions import version_of_model
from components.tracking.connection import address
from pipelines import artifacts
from pipelines.commands.console import show_facts, show_lines
from pipelines.commands.review import promote_command, read_registry, show_warning
from pipelines.formats import read_tree


def show_summary() -> None:
    """Print the accuracy, the version, the verdict, the path of the report, and commands to type.

    The version is looked up by the content of the model, because the number in verdict.json may be
    of another MLflow, for example after `dvc pull`.
    Raises UserError if the stage `evaluate` or `register` has not run yet, or if MLflow does not
    answer.
    """
    metrics = read_tree(artifacts.METRICS)
    verdict = read_tree(artifacts.VERDICT)
    name = verdict["name"]
    # An older Fovea wrote no model_id.
    judged = verdict.get("model_id", "")
    identity = sha256(artifacts.MODEL) if artifacts.MODEL.is_file() else judged
    registry = read_registry(name)
    version = version_of_model(registry.versions, identity)
    low, high = metrics["intervals"]["accuracy"]
    percent = f"{100 * metrics['confidence']:g} %"
    stale = judged not in ("", identity)
    facts = {
        "test accuracy": f"{metrics['accuracy']:.4f} ({percent} interval {low:.4f} – {high:.4f}, "
        f"{metrics['images']} images)",
        "model": f"sha256 {identity}",
        "registered": f"{name}, version {version.number}, at {address()}"
        if version
        else f"no: {name} at {address()} has no version of this model",
        "verdict": "none for this model; run `dvc repro`"
        if stale
        else "; ".join([verdict["decision"], *verdict["reasons"]]),
        "report": str(artifacts.REPORT),
    }
    show_facts("done", facts)
    show_warning(registry)
    show_lines("next:", style="bold")
    if version is None:
        show_lines("  dvc repro" if stale else "  fovea register")
        return
    number, decision = version.number, verdict["decision"]
    decided = decision == "reject" or number == registry.standing.held
    command = f"fovea explain {number}" if decided else promote_command(number, decision)
    show_lines("  fovea review", f"  {command}", "  fovea ui")
