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

from components.params.model import WEIGHTS_FOLDER
from components.params.reader import Params
from components.params.split import SPLITS, Split
from components.params.train import Train
from pipelines import artifacts
from pipelines.__main__ import STAGES
from pipelines.installed import GROUPS
from pipelines.search_start import CODE as SEARCH
from pipelines.workspace.training_key import CODE

ROOT = Path(__file__).parents[2]
DAG: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

every_stage = pytest.mark.parametrize("stage", STAGES)


# What stages reach and no dep names, and why it cannot change a byte that a stage writes.
CHANGES_NO_BYTE = {
    "components.deadline": "gives what a call returns, or stops",
    "components.errors": "sentences for people",
    "components.progress": "bars and lines for people",
    "components.params.reader": "only judge_again calls it, for a command; a stage gets its params",
    "components.params.section": "types that accept a value or refuse it",
    "components.params.sentences": "sentences for people",
    "components.registry.weights": "gives a file whose bytes params.yaml names, or stops",
    "components.tracking": "writes to MLflow; what comes back is the address of a run",
    "components.worker_processes": "starts and ends processes, and does not know what they compute",
    "pipelines.artifacts": "names of files; dvc.yaml has the same, and a test below compares them",
    "pipelines.search_on_prefect": "starts and ends workers, and does not know what they compute",
    "pipelines.search_start": "names a search, checks the environment, and copies the deps",
    "pipelines.workspace.environment": "switches messages and telemetry of packages off",
    "pipelines.workspace.lineage": "goes to MLflow; the register report shows its facts unchanged",
    "pipelines.workspace.machine": "goes to MLflow and into the key of checkpoints alone",
    "pipelines.workspace.messages": "prints lines for people",
    "pipelines.workspace.processes": "starts and ends processes; does not know what they compute",
    "pipelines.workspace.searches": "finds a search on the disk, and lets one process run it",
    "pipelines.workspace.search_variables": "gives the addresses of servers, or stops",
    "pipelines.workspace.training_key": "a training that goes on has the bytes of a new one",
}


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Which module imports which, without those that cannot change a byte and what they import."""
    graph = grimp.build_graph("components", "pipelines", cache_dir=None)
    for name in CHANGES_NO_BYTE:
        for module in {name, *graph.find_descendants(name)}:
            graph.remove_module(module)
    return graph


def paths(stage: str, *keys: str) -> set[str]:
    """What stands below deps, outs, metrics or plots; an entry may carry options."""
    entries = [entry for key in keys for entry in DAG[stage].get(key, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def code(stage: str) -> set[Path]:
    """The files and folders of code among a stage's deps."""
    code = {dep for dep in paths(stage, "deps") if not dep.startswith("data/")}
    return {ROOT / dep for dep in code - packages(stage)}


def packages(stage: str) -> set[str]:
    """The lists of packages among a stage's deps."""
    return {dep for dep in paths(stage, "deps") if dep.startswith("pipelines/packages/")}


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


def test_the_seed_of_training_decides_no_split_and_reruns_only_what_trains() -> None:
    """So `dvc exp run -S train.seed=2` is judged on images that no champion was trained on."""

    def stages_with(section: str) -> set[str]:
        return {stage for stage in STAGES if section in DAG[stage]["params"]}

    assert stages_with("split") == {"split"}
    assert stages_with("train") == {"search", "train"}
    assert stages_with("seed") == set()
    assert "seed" in Split.model_fields
    assert "seed" in Train.model_fields


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
def test_all_code_that_a_stage_reaches_lies_below_its_deps(
    stage: str, imports: grimp.ImportGraph
) -> None:
    sources = reached(stage, imports)
    wanted = sources | files_named_in(sources)
    missing = {path for path in wanted if not any(path.is_relative_to(dep) for dep in code(stage))}
    assert sorted(missing) == [], "missing: a change there would leave a stale result"


@every_stage
def test_no_dep_is_code_that_the_stage_does_not_reach(
    stage: str, imports: grimp.ImportGraph
) -> None:
    sources = reached(stage, imports)
    sources |= files_named_in(sources)
    needless = {
        dep for dep in code(stage) if not any(source.is_relative_to(dep) for source in sources)
    }
    assert sorted(needless) == [], "not reached: a change there would run it for nothing"


def test_the_key_of_checkpoints_has_the_code_that_training_depends_on() -> None:
    assert {ROOT / path for path in CODE} == code("train")


def test_the_name_of_a_search_has_the_code_that_decides_its_trials(
    imports: grimp.ImportGraph,
) -> None:
    names = [f"components.search.{name}" for name in ("costs", "folds", "planning", "pruning")]
    modules = {*names, *(name for start in names for name in imports.find_upstream_modules(start))}
    sources = {file_of(module) for module in modules if file_of(module).read_text()}
    decides = sources | {file_of("pipelines.search_worker")}
    listed = {ROOT / path for path in SEARCH}
    assert listed <= decides
    known = [*listed, *(ROOT / path for path in CODE)]
    assert sorted(path for path in decides if not any(map(path.is_relative_to, known))) == []


@every_stage
def test_a_stage_depends_on_the_packages_that_it_checks(stage: str) -> None:
    assert packages(stage) == {f"pipelines/packages/{group}.txt" for group in GROUPS[stage]}
    assert all((ROOT / dep).is_file() for dep in packages(stage))


@pytest.mark.parametrize("stage", ["search", "train"])
def test_no_line_that_training_does_not_run_trains_again(
    stage: str, imports: grimp.ImportGraph
) -> None:
    """Other stages may depend on a room of which they reach a part; what trains takes hours."""
    covered = {
        path
        for dep in code(stage)
        for path in ([dep] if dep.is_file() else dep.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and path.read_text()
    }
    sources = reached(stage, imports)
    assert sorted(covered - sources - files_named_in(sources)) == []


def test_every_module_that_is_left_out_of_deps_is_reached_and_says_why() -> None:
    whole = grimp.build_graph("components", "pipelines", cache_dir=None)
    reached_at_all = {
        name for stage in STAGES for name in whole.find_upstream_modules(f"pipelines.{stage}")
    }
    for name in CHANGES_NO_BYTE:
        assert {name, *whole.find_descendants(name)} & reached_at_all, name
    assert all(CHANGES_NO_BYTE.values())


@every_stage
def test_deps_and_outs_are_exactly_the_artifacts_that_the_stage_names(
    stage: str, imports: grimp.ImportGraph
) -> None:
    sources = {path for path in reached(stage, imports) if path.is_relative_to(ROOT / "pipelines")}
    used = [use for source in sources for use in artifact_uses(source)]
    surely = {path for use in used if len(use) == 1 for path in use}
    perhaps = {path for use in used for path in use}
    listed = {
        path
        for path in paths(stage, "deps", "outs", "metrics", "plots")
        if path.startswith("data/") and path != WEIGHTS_FOLDER
    }
    assert sorted(surely - listed) == []
    assert sorted(listed - perhaps) == []
    for use in used:
        assert use & listed, use


@every_stage
def test_exactly_the_stages_that_start_from_a_file_of_weights_depend_on_their_folder(
    stage: str,
) -> None:
    """params.yaml names the file, so a stage that resolves the name may read any of them."""
    whole = grimp.build_graph("components", "pipelines", cache_dir=None)
    resolves = "components.registry.weights" in whole.find_upstream_modules(f"pipelines.{stage}")
    assert (WEIGHTS_FOLDER in paths(stage, "deps")) == resolves


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
