"""Rules 4 and 6: dvc.yaml tells the truth about what a stage reads, writes and is given."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from components.params import Params
from pipelines import artifacts
from pipelines.__main__ import STAGES

ROOT = Path(__file__).parents[2]
DAG: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SPLITS = ("train", "val", "test")

every_stage = pytest.mark.parametrize("stage", STAGES)


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("components", "pipelines", cache_dir=None)


def paths(stage: str, *keys: str) -> set[str]:
    """What stands below deps, outs, metrics or plots; an entry may carry options."""
    entries = [entry for key in keys for entry in DAG[stage].get(key, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def reached(stage: str, imports: grimp.ImportGraph) -> set[Path]:
    """Every first-party file with content that the stage's module imports, at once or later."""
    modules = {f"pipelines.{stage}", *imports.find_upstream_modules(f"pipelines.{stage}")}
    return {file_of(module) for module in modules if file_of(module).read_text()}


def files_named_in(sources: set[Path]) -> set[Path]:
    """Templates and the like: files of ours, not Python, that a source names."""
    others = [
        path
        for folder in ("components", "pipelines")
        for path in (ROOT / folder).rglob("*.*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    text = "\n".join(source.read_text() for source in sources)
    return {path for path in others if path.name in text}


def test_dvc_yaml_and_the_command_line_know_the_same_stages_in_the_same_order() -> None:
    assert tuple(DAG) == STAGES


def test_no_stage_stands_before_one_that_it_reads_from() -> None:
    written: set[str] = set()
    later = {path for stage in STAGES for path in paths(stage, "outs", "metrics", "plots")}
    for stage in STAGES:
        assert not paths(stage, "deps") & (later - written), stage
        written |= paths(stage, "outs", "metrics", "plots")


@every_stage
def test_each_stage_is_one_word_everywhere(stage: str) -> None:
    assert (ROOT / f"pipelines/{stage}.py").is_file()
    assert (ROOT / f"tests/pipelines/test_{stage}.py").is_file()
    assert DAG[stage]["cmd"] == f"python -m pipelines {stage}"
    sections = {field.alias or name for name, field in Params.model_fields.items()}
    assert stage in sections
    written = paths(stage, "outs", "metrics", "plots")
    assert written
    assert all(path.startswith(f"data/{stage}/") for path in written)


@every_stage
def test_a_stage_is_given_exactly_the_params_that_dvc_tracks(stage: str) -> None:
    signature = inspect.signature(importlib.import_module(f"pipelines.{stage}").run)
    sections = [name for name in DAG[stage]["params"] if "." not in name]
    assert list(signature.parameters) == sections
    assert all(each.default is each.empty for each in signature.parameters.values())


@every_stage
def test_keys_that_the_run_cache_of_dvc_leaves_out_are_listed_by_themselves(stage: str) -> None:
    """It drops `size` and `nfiles` wherever they stand in a section, and takes 16 for 224."""
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    listed = DAG[stage]["params"]
    dropped = {
        key
        for section in listed
        if "." not in section
        for key in keys_of(tree[section], section)
        if key.rpartition(".")[2] in ("size", "nfiles")
    }
    assert {name for name in listed if "." in name} == dropped


def keys_of(node: Any, name: str) -> Iterator[str]:
    """Yield the dotted names of all that is below a section."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{name}.{key}"
            yield from keys_of(value, f"{name}.{key}")


@every_stage
def test_deps_are_exactly_the_code_that_the_stage_reaches(
    stage: str, imports: grimp.ImportGraph
) -> None:
    sources = reached(stage, imports)
    wanted = {str(path.relative_to(ROOT)) for path in sources | files_named_in(sources)}
    listed = {dep for dep in paths(stage, "deps") if not dep.startswith("data/")}
    assert sorted(wanted - listed) == [], "missing: a change there would leave a stale result"
    assert sorted(listed - wanted) == [], "not reached: a change there would run it for nothing"


@every_stage
def test_deps_and_outs_are_exactly_the_artifacts_that_the_stage_names(
    stage: str, imports: grimp.ImportGraph
) -> None:
    sources = {path for path in reached(stage, imports) if path.parent.name == "pipelines"}
    used = [use for source in sources for use in artifact_uses(source)]
    surely = {path for use in used if len(use) == 1 for path in use}
    perhaps = {path for use in used for path in use}
    listed = {
        path
        for path in paths(stage, "deps", "outs", "metrics", "plots")
        if path.startswith("data/")
    }
    assert sorted(surely - listed) == []
    assert sorted(listed - perhaps) == []
    for use in used:
        assert use & listed, use


def artifact_uses(source: Path) -> Iterator[set[str]]:
    """Yield for every `artifacts.…` in a source the paths it may mean: one, or one a split."""
    if source.name == "artifacts.py":
        return
    tree = ast.parse(source.read_text())
    calls = {node.func: node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
            continue
        if node.value.id != "artifacts" or node.attr == "STATE":
            continue
        named = getattr(artifacts, node.attr)
        if isinstance(named, Path):
            yield {str(named)}
        elif node.attr in ("images", "rows"):
            (argument,) = calls[node].args
            known = [argument.value] if isinstance(argument, ast.Constant) else SPLITS
            yield {str(named(split)) for split in known}


def test_every_artifact_has_one_stage_that_writes_it() -> None:
    written = [path for stage in STAGES for path in paths(stage, "outs", "metrics", "plots")]
    assert len(written) == len(set(written))
    named = {str(path) for path in vars(artifacts).values() if isinstance(path, Path)}
    named -= {str(artifacts.RAW), str(artifacts.STATE)}
    named |= {str(make(split)) for make in (artifacts.images, artifacts.rows) for split in SPLITS}
    assert named == set(written)
