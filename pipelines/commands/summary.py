"""metrics.json, verdict.json, the registry → the state of this model, and the next commands."""

from collections.abc import Iterator
from typing import Any

from components.files import sha256
from components.registry.objections import judged_against
from components.registry.record import last_decision
from components.registry.snapshot import Snapshot
from components.registry.standing import in_words
from components.registry.versions import COMPARED_WITH, Version, version_of_model
from components.tracking.connection import address
from components.words import count_text
from pipelines import artifacts
from pipelines.commands.console import show_facts, show_lines
from pipelines.commands.review import decision_commands, read_registry, show_warning
from pipelines.formats import read_tree


def show_summary() -> None:
    """Print the accuracy, the version, the verdict, the paths of pages, and commands to type.

    The version is looked up by the content of the model, because verdict.json may be of another
    MLflow, for example after `dvc pull`. If MLflow has a version of this model, its own verdict and
    the last decision about it are shown. Otherwise the verdict in verdict.json is shown.
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
    stale = judged not in ("", identity)
    low, high = metrics["intervals"]["accuracy"]
    percent = f"{100 * metrics['confidence']:g} %"
    facts = {
        "test accuracy": f"{metrics['accuracy']:.4f} ({percent} interval {low:.4f} – {high:.4f}, "
        f"{metrics['images']} images)",
        "model": f"sha256 {identity}",
        "registered": f"{name}, version {version.number}, at {address()}"
        if version
        else f"no: {name} at {address()} has no version of this model",
        **dict(_judgement(version, registry) if version else _judged_elsewhere(verdict, stale)),
        "champion": in_words(registry.standing.held, "none"),
        **dict(_search()),
        "report": str(artifacts.REPORT),
    }
    show_facts("done", facts)
    show_warning(registry)
    show_lines("next:", style="bold")
    if version is None:
        show_lines("  dvc repro" if stale else "  fovea register")
        return
    show_lines("  fovea review", f"  {_next(version, registry)}", "  fovea ui")


def _search() -> Iterator[tuple[str, str]]:
    """Yield how many trials the search had, and where its charts are, if there was a search."""
    if artifacts.TRIALS.is_file():
        _, *rows = artifacts.TRIALS.read_text(encoding="utf-8").splitlines()
        if rows:
            yield "search", f"{count_text(len(rows), 'trial')}, see {artifacts.STUDY_PAGE}"


def _judgement(version: Version, registry: Snapshot) -> Iterator[tuple[str, str]]:
    """Yield the verdict on a version, and the last decision about its model."""
    tags = version.tags
    decision = tags.get("verdict")
    if decision is None:
        yield "verdict", "none: it was registered without a verdict"
    else:
        yield "verdict", "; ".join([decision, tags.get("reasons", "")])
        yield "judged", judged_against(tags.get(COMPARED_WITH, ""))
    event = last_decision(registry.record, version.number, version.model_id)
    if event is not None:
        against = "rejected" if event.kind == "reject" else "rolled back"
        done = against if event.declines else "promoted"
        yield "decision", f"{done} as version {event.version} by {event.who}: {event.why}"


def _judged_elsewhere(verdict: dict[str, Any], stale: bool) -> Iterator[tuple[str, str]]:
    """Yield the verdict in verdict.json, which is of another MLflow, or of an experiment."""
    if stale:
        yield "verdict", "none for this model; run `dvc repro`"
        return
    yield "verdict", "; ".join([verdict["decision"], *verdict["reasons"]])
    against = judged_against(str(verdict["champion"] or "none"))
    # An older Fovea wrote no store.
    yield "judged", f"in {verdict.get('store', 'an unknown MLflow')} (as it was then), {against}"


def _next(version: Version, registry: Snapshot) -> str:
    """Return the command that decides on the version, or explains it if it is decided."""
    decided = last_decision(registry.record, version.number, version.model_id) is not None
    champion = version.number == registry.standing.held
    if decided or champion or version.tags.get("verdict") == "reject":
        return f"fovea explain {version.number}"
    return decision_commands(registry, version)[0]
