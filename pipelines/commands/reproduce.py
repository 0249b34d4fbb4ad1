"""A registered version → the same model, made again in an empty folder, and what differs.

The command reads the version's lineage from MLflow. Then it works in the folder only: it checks out
the commit, takes the images and the hyperparameters that dvc.lock has on record, installs the
packages that the commit locks, and runs the stages that lead to the model. It compares the results
of each stage with dvc.lock, and the model with the version. The workspace, its MLflow and the
registered versions stay as they are.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.files import sha256
from components.model.backend import load_keras
from components.registry.snapshot import read_snapshot
from components.registry.versions import Version, download
from pipelines import artifacts
from pipelines.commands.console import console, show_facts, show_lines, show_waiting
from pipelines.installed import expected_versions
from pipelines.workspace import dvc_files
from pipelines.workspace.lock_stages import Comparison, compare, size_of, stages_to
from pipelines.workspace.machine import KEYS, machine
from pipelines.workspace.model_commits import md5_of_file
from pipelines.workspace.model_source import Source, find_source
from pipelines.workspace.rebuild import (
    REQUIREMENTS,
    Rebuild,
    build_environment,
    check_space,
    open_folder,
    other_packages,
    run_stage,
)
from pipelines.workspace.rebuild_inputs import SEARCH, check_out, fetch_data
from pipelines.workspace.rebuild_weights import find_weights, put_weights
from pipelines.workspace.revisions import LOCK

SAME, OTHER, INTERRUPTED = 0, 3, 130  # exit statuses
FOLDERS = artifacts.STATE / "reproduce"
NOT_RECORDED = "not on record"
OLD_BACKEND = "tensorflow"  # of versions from before the backend was recorded: there was no other


@dataclass(frozen=True)
class Options:
    """The options of `fovea reproduce`; see its help."""

    into: Path | None
    here: bool
    search: bool
    dirty: bool
    as_json: bool


@dataclass(frozen=True)
class Result:
    """What came out.

    model_id: the sha256 of the new model. stages: the stages in the order in which they ran.
    machine: name of a fact → the fact when the version was trained, and the fact here; empty if all
    results are the same.
    """

    version: Version
    commit: str
    lock: str
    data: str
    rebuild: Rebuild
    model_id: str
    stages: tuple[Comparison, ...]
    machine: Mapping[str, tuple[str, str]]

    @property
    def same(self) -> bool:
        """Return True if the new model is the version's model, byte for byte."""
        return self.model_id == self.version.model_id

    @property
    def first(self) -> Comparison | None:
        """Return the first stage with another result than the recorded one, or None."""
        return next((stage for stage in self.stages if not stage.same), None)


def reproduce(name: str, wanted: str, options: Options) -> int:
    """Make the model of a version again, show what differs, and return the exit status.

    name: the name of the registered model. wanted: the number or an alias of the version.
    The exit status is SAME or OTHER, by the sha256 of the model, or INTERRUPTED after Ctrl-C.
    Raises UserError with one sentence if the model cannot be made again.
    """
    # With --json, standard output has only the JSON.
    with redirect_stdout(sys.stderr) if options.as_json else nullcontext():
        version = read_snapshot(name, show_waiting).find(wanted)
        root = (options.into or FOLDERS / f"{name}-{version.number}").resolve()
        try:
            result = _reproduce(version, root, options)
        except KeyboardInterrupt:
            show_lines(f"interrupted; the same command goes on in {root}")
            return INTERRUPTED
        _show(result)
    if options.as_json:
        print(json.dumps(_tree(result), indent=2, ensure_ascii=False))  # noqa: T201
    return SAME if result.same else OTHER


def _reproduce(version: Version, root: Path, options: Options) -> Result:
    called = f"version {version.number} of {version.name}"
    if not version.model_id:
        raise UserError(
            f"{called} was not registered by Fovea (it has no tag model_id), so its code and data "
            f"are unknown; choose another version. Received: {version.number}"
        )
    md5 = version.tags.get("dvc.model") or md5_of_file(download(version))
    source = find_source(version.tags.get("git.commit", "none (not recorded)"), md5, called)
    stages = stages_to(source.lock, md5, () if options.search else (SEARCH,))
    plan = {
        "model": version.model_id,
        "here": options.here,
        "search": options.search,
        "backend": version.tags.get("backend", OLD_BACKEND),
    }
    with open_folder(root, plan) as rebuild:
        check_space(rebuild, size_of(source.lock, stages))
        with console().status("code and images are put into the folder"):
            commit = check_out(rebuild, source, stages, options.dirty)
            data = fetch_data(rebuild, source, stages)
        weights = find_weights(
            rebuild, artifacts.HYPERPARAMETERS, version.tags.get("started_from", NOT_RECORDED)
        )
        _show_start(called, version, commit, source, data, rebuild)
        with console().status("the packages of the commit are checked, or installed"):
            build_environment(rebuild)
        if "environment" in rebuild.done:
            show_lines(f"packages: {rebuild.done['environment']:.0f} s")
        put_weights(rebuild, weights)
        compared = tuple(_run(rebuild, stage, source.lock) for stage in stages)
        model = next(out.path for out in compared[-1].outs if out.recorded == md5)
        return Result(
            version,
            commit,
            _lock_text(source),
            data,
            rebuild,
            sha256(rebuild.project / model),
            compared,
            {} if all(stage.same for stage in compared) else _machine(version, rebuild),
        )


def _run(rebuild: Rebuild, stage: str, recorded: str) -> Comparison:
    when = " in an earlier run" if stage in rebuild.seconds else ""
    with console().status(f"{stage} runs; `fovea --verbose reproduce` shows its lines"):
        run_stage(rebuild, stage)
    compared = compare(stage, recorded, dvc_files.read_text(rebuild.project / LOCK))
    others = ", ".join(out.path for out in compared.outs if not out.same)
    outcome = f"differs: {others}" if others else "same"
    show_lines(
        f"{stage}: {rebuild.seconds[stage]:.0f} s{when}, {outcome}",
        style="yellow" if others else "",
    )
    return compared


def _machine(version: Version, rebuild: Rebuild) -> dict[str, tuple[str, str]]:
    """Return fact → the value on record for the version, and the value here."""
    recorded = {key: version.tags.get(key, NOT_RECORDED) for key in KEYS}
    here = machine()
    # The GPUs come last, and are known only after Keras has started, which takes seconds.
    if recorded["processor"].startswith(f"{here['processor']}; "):
        load_keras()
        here = machine()
    return {key: (recorded[key], here[key]) for key in KEYS} | {
        "packages": _packages(version.tags.get("packages"), rebuild),
        "backend": (recorded["backend"], rebuild.plan["backend"]),
    }


def _packages(recorded: str | None, rebuild: Rebuild) -> tuple[str, str]:
    """Return the packages with which the version was trained, and the same packages here.

    recorded: `name version, name version, …`, or None if the version has no such tag. Then the
    packages that the commit locks are compared, because a stage refuses to run with others.
    """
    if recorded is None:
        other = other_packages(rebuild.project) if rebuild.plan["here"] else []
        return NOT_RECORDED, ", ".join(map(str, other)) or "as requirements.lock of the commit"
    if rebuild.plan["here"]:
        installed = {
            package.name.lower().replace("_", "-"): package.version
            for package in metadata.distributions()
        }
    else:
        installed = expected_versions(dvc_files.read_text(rebuild.project / REQUIREMENTS))
    names = [entry.partition(" ")[0] for entry in recorded.split(", ")]
    return recorded, ", ".join(f"{name} {installed.get(name, 'missing')}" for name in names)


def _lock_text(source: Source) -> str:
    return f"commit {source.lock_commit}" if source.lock_commit else "this workspace, not committed"


def _show_start(
    called: str, version: Version, commit: str, source: Source, data: str, rebuild: Rebuild
) -> None:
    search = "searched again" if rebuild.plan["search"] else "as recorded; no search"
    packages = "this environment's" if rebuild.plan["here"] else "those that the commit locks"
    facts = {
        "sha256": version.model_id,
        "code": f"commit {commit}",
        LOCK: _lock_text(source),
        "images": f"from {data}",
        "hyperparameters": search,
        "packages": packages,
        "backend": rebuild.plan["backend"],
        "folder": str(rebuild.root),
    }
    show_facts(f"{called}, made again", facts)


def _show(result: Result) -> None:
    version = result.version
    called = f"version {version.number} of {version.name}"
    if first := result.first:
        paths = ", ".join(out.path for out in first.outs if not out.same)
        show_lines(f"the first stage that differs is {first.stage}: {paths}", style="yellow")
        show_lines(f"  {_cause(first, result.same)}")
        for key, (recorded, here) in result.machine.items():
            show_facts(f"  {key}", {"version": recorded, "here": here})
    if result.same:
        show_lines(f"the same model: {called} has the sha256 {result.model_id}", style="green")
    else:
        show_lines(
            f"another model: its sha256 is {result.model_id}, and {called} has {version.model_id}",
            style="red",
        )
    show_lines(f"the folder is no longer needed: rm -rf {result.rebuild.root}")


def _cause(first: Comparison, same_model: bool) -> str:
    if first.inputs:
        return f"it read other code, params or images: {', '.join(first.inputs)}"
    if same_model:
        return "the model does not depend on it; docs/reproduce.md says when a report differs"
    return (
        "it read the same code, params and images, so other packages, another number of threads or "
        "another processor made the difference"
    )


def _tree(result: Result) -> dict[str, Any]:
    version, first = result.version, result.first
    return {
        "name": version.name,
        "version": version.number,
        "commit": result.commit,
        "dvc_lock": result.lock,
        "images": result.data,
        "folder": str(result.rebuild.root),
        "here": result.rebuild.plan["here"],
        "search": result.rebuild.plan["search"],
        "same": result.same,
        "model": {"recorded": version.model_id, "now": result.model_id},
        "first_difference": first.stage if first else None,
        "stages": [_stage_tree(stage, result.rebuild.seconds) for stage in result.stages],
        "machine": {
            key: {"recorded": recorded, "now": here}
            for key, (recorded, here) in result.machine.items()
        },
    }


def _stage_tree(stage: Comparison, seconds: Mapping[str, float]) -> dict[str, Any]:
    return {
        "stage": stage.stage,
        "seconds": round(seconds[stage.stage], 1),
        "same": stage.same,
        "outs": {
            out.path: {"recorded": out.recorded, "now": out.now, "same": out.same}
            for out in stage.outs
        },
        "other_inputs": list(stage.inputs),
    }
