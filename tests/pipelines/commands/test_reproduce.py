"""A tiny project under real git and real DVC, whose stages are lines of shell.

Its commits have none of Fovea's code, so nothing can depend on their layout.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from components.errors import UserError
from components.files import sha256
from components.registry.versions import Version
from components.tracking.runs import Run
from pipelines.commands import reproduce as command
from pipelines.commands.reproduce import Options, Result
from pipelines.workspace import rebuild
from pipelines.workspace.model_commits import md5_of_file
from pipelines.workspace.model_source import Source
from tests.pipelines.versioned import commit, dvc, make_repository, run, write

HERE = Options(into=None, here=True, search=False, dirty=False, as_json=False)
PLAN = {"model": "abc", "here": True, "search": False, "backend": "tensorflow"}
MODEL = Path("data/train/model.keras")
HYPERPARAMETERS = Path("data/search/hyperparameters.yaml")
# The search gives another result each time, and the training adds what NOISE says.
COMMANDS = {
    "ingest": "mkdir -p data/ingest && cat code/ingest.txt data/raw/*.png > data/ingest/all.txt",
    "search": "mkdir -p data/search && date +'at: t%N' > data/search/hyperparameters.yaml",
    "train": "mkdir -p data/train && (cat data/ingest/all.txt data/search/hyperparameters.yaml; "
    "printf %s $NOISE) > data/train/model.keras; echo $KERAS_BACKEND > data/train/backend",
    "evaluate": "mkdir -p data/evaluate && wc -c data/train/model.keras > data/evaluate/size.txt",
}
STAGES = {
    "ingest": {"deps": ["data/raw", "code/ingest.txt"], "outs": ["data/ingest/all.txt"]},
    "search": {"deps": ["data/ingest/all.txt"], "outs": [str(HYPERPARAMETERS)]},
    "train": {
        "deps": ["data/ingest/all.txt", str(HYPERPARAMETERS)],
        "params": ["train.seed"],
        "outs": [str(MODEL)],
    },
    "evaluate": {"deps": [str(MODEL)], "outs": ["data/evaluate/size.txt"]},
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A commit with code and images, then a commit with the dvc.lock of a run."""
    here, folder = Path.cwd(), tmp_path_factory.mktemp("tiny") / "project"
    make_repository(folder)
    stages = {name: {"cmd": COMMANDS[name], **stage} for name, stage in STAGES.items()}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    write(Path("code"), {"ingest.txt": b"read all images"})
    write(Path("data/raw"), {"cat.png": b"a cat", "dog.png": b"a dog"})
    dvc("add", "data/raw")
    commit("code and images")
    dvc("repro")
    commit("the lock")
    os.chdir(here)
    return folder


@pytest.fixture(scope="module")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """Version 3, made again once; tests copy the folder before they change it."""
    here, into = Path.cwd(), tmp_path_factory.mktemp("made") / "folder"
    os.chdir(template)
    before = snapshot(template)
    try:
        result = command._reproduce(version(), into, HERE)
    finally:
        os.chdir(here)
    assert snapshot(template) == before
    return result, into


def snapshot(folder: Path) -> Mapping[Path, float]:
    """Return the files of a workspace and of its cache with their times; no state of git or DVC."""
    ours = (file for file in folder.rglob("*") if file.is_file())
    state = (".dvc/tmp", ".git")
    return {file: file.stat().st_mtime for file in ours
            if not str(file.relative_to(folder)).startswith(state)}  # fmt: skip


def version(**tags: str) -> Version:
    """Return the version of the model of the current folder, which names its first commit."""
    known = {
        "model_id": sha256(MODEL),
        "dvc.model": md5_of_file(MODEL),
        "git.commit": run("git", "rev-list", "--max-parents=0", "HEAD"),
        "git.dirty": "no",
        "backend": "jax",
    }
    return Version("digits", 3, {**known, **tags}, ("champion",), Run(""), 0)


def made_again(made: tuple[Result, Path], into: Path, *forget: str) -> Path:
    """Copy the folder in which the version was made, and forget that some steps were done."""
    shutil.copytree(made[1], into, symlinks=True)
    state = into / rebuild.STATE
    tree = json.loads(state.read_text())
    for step in forget:
        tree["done"].pop(step, None)
        tree["done"]["seconds"].pop(step, None)
    state.write_text(json.dumps(tree))
    return into


def test_a_version_is_made_again_byte_for_byte_and_not_searched_again(
    made: tuple[Result, Path], repository: Path
) -> None:
    result, into = made
    assert result.same
    assert (into / MODEL).read_bytes() == MODEL.read_bytes()
    assert [stage.stage for stage in result.stages] == ["ingest", "train"]
    assert (into / "data/train/backend").read_text() == "jax\n"
    assert result.first is None
    assert result.data == "DVC's cache of this workspace"
    assert result.commit == version().tags["git.commit"]
    assert result.lock == f"commit {run('git', 'rev-parse', 'HEAD')}"


def test_a_second_call_runs_nothing_and_says_the_same(
    made: tuple[Result, Path], repository: Path, tmp_path: Path
) -> None:
    into = made_again(made, tmp_path / "folder")
    before = snapshot(into)
    result = command._reproduce(version(), into, HERE)
    assert result.same
    assert set(before.items()) - set(snapshot(into).items()) <= {
        (into / name, before[into / name]) for name in (rebuild.STATE, ".fovea/workspace.lock")
    }


def test_after_an_interruption_only_the_rest_runs_and_the_stage_that_differs_is_named(
    made: tuple[Result, Path],
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    into = made_again(made, tmp_path / "folder", "train")
    ingested = (into / "data/ingest/all.txt").stat().st_mtime_ns
    monkeypatch.setenv("NOISE", "rounding")
    result = command._reproduce(version(processor="a toaster"), into, HERE)
    command._show(result)
    assert (into / "data/ingest/all.txt").stat().st_mtime_ns == ingested
    assert not result.same
    assert result.first is not None and result.first.stage == "train"
    assert result.machine["processor"][0] == "a toaster"
    assert result.machine["threads"][0] == "not on record"
    assert result.machine["backend"] == ("jax", "jax")
    shown = capsys.readouterr().out
    assert f"the first stage that differs is train: {MODEL}" in shown
    assert "it read the same code, params and images" in shown
    assert f"another model: its sha256 is {sha256(into / MODEL)}" in shown
    tree = command._tree(result)
    assert json.loads(json.dumps(tree)) == tree
    assert tree["first_difference"] == "train"
    assert [stage["same"] for stage in tree["stages"]] == [True, False]


@pytest.fixture
def other_code(repository: Path) -> tuple[Source, str]:
    """The lock of a run with uncommitted code, and the commit that has this code.

    The commit that the version names has other code, as if somebody first ran and then committed.
    """
    named = run("git", "rev-list", "--max-parents=0", "HEAD")
    Path("code/ingest.txt").write_text("read all images twice")
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    lock["stages"]["ingest"]["deps"][0]["md5"] = md5_of_file(Path("code/ingest.txt"))
    lock["stages"]["train"]["params"]["params.yaml"]["train.seed"] = 2
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("seed: 1", "seed: 2"))
    return Source(Path("dvc.lock").read_text(), None, (named,)), commit("all together")


def test_the_commit_that_has_the_code_and_params_is_taken_or_what_differs_is_named(
    other_code: tuple[Source, str], tmp_path: Path
) -> None:
    named, right = other_code
    with rebuild.open_folder(tmp_path / "folder", PLAN) as folder:
        with pytest.raises(
            UserError, match=r"code/ingest\.txt, another train\.seed in params\.yaml"
        ):
            command.check_out(folder, named, ["ingest", "train"], dirty=False)
        both = replace(named, commits=(*named.commits, right))
        assert command.check_out(folder, both, ["ingest", "train"], dirty=False) == right
        assert (folder.project / "code/ingest.txt").read_text() == "read all images twice"


@pytest.mark.slow
def test_dirty_goes_on_with_the_commit_that_the_version_names(
    other_code: tuple[Source, str], tmp_path: Path
) -> None:
    named, _ = other_code
    with rebuild.open_folder(tmp_path / "folder", PLAN) as folder:
        assert command.check_out(folder, named, ["ingest"], dirty=True) == named.commits[0]
        assert (folder.project / "code/ingest.txt").read_text() == "read all images"


def test_missing_images_are_named_before_any_stage_runs(
    made: tuple[Result, Path], repository: Path, tmp_path: Path
) -> None:
    into = made_again(made, tmp_path / "folder", "data", "train", "ingest")
    gone = md5_of_file(Path("data/raw/cat.png"))
    (Path(".dvc/cache/files/md5") / gone[:2] / gone[2:]).unlink()
    with pytest.raises(UserError, match=r"all files of data/raw.dvc, and there is no DVC remote"):
        command._reproduce(version(), into, HERE)


@pytest.mark.slow
def test_missing_images_and_hyperparameters_come_from_the_remote_which_is_named(
    repository: Path, tmp_path: Path
) -> None:
    Path(".dvc/config.local").write_text(
        "[core]\nremote = backup\n['remote \"backup\"']\nurl = ../../remote\n"
    )
    dvc("push")
    shutil.rmtree(".dvc/cache")
    into = tmp_path / "folder"
    result = command._reproduce(version(), into, HERE)
    assert result.same
    assert result.data == f"the DVC remote backup ({tmp_path / 'remote'})"
    assert "remote" not in (into / ".dvc/config.local").read_text()


@pytest.mark.slow
def test_with_search_the_search_runs_and_differs_first(repository: Path, tmp_path: Path) -> None:
    result = command._reproduce(version(), tmp_path / "folder", replace(HERE, search=True))
    assert [stage.stage for stage in result.stages] == ["ingest", "search", "train"]
    assert result.first is not None and result.first.stage == "search"


def test_a_version_that_was_registered_by_hand_is_refused(repository: Path) -> None:
    with pytest.raises(UserError, match=r"was not registered by Fovea.*Received: 3"):
        command._reproduce(version(model_id=""), Path("never"), HERE)


def test_ctrl_c_keeps_the_folder_and_says_how_to_go_on(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Registry:
        find = staticmethod(lambda wanted: version())

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "read_snapshot", lambda *arguments: Registry)
    monkeypatch.setattr(command, "check_out", interrupted)
    options = replace(HERE, into=tmp_path / "folder", as_json=True)
    assert command.reproduce("digits", "champion", options) == 130
    shown = capsys.readouterr()
    assert "the same command goes on in" in shown.err
    assert shown.out == ""
    assert (tmp_path / "folder" / rebuild.STATE).is_file()


OpenFolder = Callable[..., rebuild.Rebuild]


@pytest.fixture
def opened(repository: Path, tmp_path: Path) -> OpenFolder:
    """A function that opens a folder for a plan and returns it."""

    def open_it(root: Path | None = None, here: bool = True) -> rebuild.Rebuild:
        with rebuild.open_folder(root or tmp_path / "folder", {**PLAN, "here": here}) as folder:
            return folder

    return open_it


@pytest.mark.parametrize("place", [".", "data/raw/new", "components", ".fovea"])
def test_a_folder_among_the_files_of_the_workspace_is_refused(
    opened: OpenFolder, place: str
) -> None:
    with pytest.raises(UserError, match="must not be among the files of the workspace"):
        opened(Path(place).absolute())
    assert not Path("data/raw/new").exists()


def test_a_folder_below_the_state_of_the_workspace_is_allowed(opened: OpenFolder) -> None:
    assert opened(Path(".fovea/reproduce/digits-3").absolute()).project.is_dir()


def test_a_folder_with_files_is_refused_and_kept(opened: OpenFolder, tmp_path: Path) -> None:
    folder = write(tmp_path / "full", {"thesis.txt": b"years of work"})
    with pytest.raises(UserError, match=r"must be empty or missing.*Received: .*full"):
        opened(folder)
    assert [file.name for file in folder.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_used(opened: OpenFolder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert opened(tmp_path / "empty").done == {"started": True}


def test_a_folder_in_which_stages_ran_with_other_options_is_refused(opened: OpenFolder) -> None:
    folder = opened(here=True)
    folder.note("seconds", {"ingest": 1.0})
    with pytest.raises(UserError, match="a rebuild of another version, or with other options"):
        opened(here=False)


def test_options_may_change_before_a_stage_has_run(opened: OpenFolder) -> None:
    opened(here=False).note("environment", 30.0)
    assert opened(here=True).done == {"started": True}


def test_a_folder_that_cannot_be_made_is_an_error_of_one_sentence(
    opened: OpenFolder, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be used; free space.*Received: Not a directory"):
        opened(tmp_path / "file/folder")


def test_too_little_space_is_said_before_work_starts(opened: OpenFolder) -> None:
    folder = opened()
    rebuild.check_space(folder, results=1)
    with pytest.raises(UserError, match=r"GiB are needed.*Received: .* free for"):
        rebuild.check_space(folder, results=2**60)
    folder.note("data", "the cache")
    rebuild.check_space(folder, results=2**60)


def test_the_set_up_of_the_commit_makes_the_environment(opened: OpenFolder) -> None:
    folder = opened(here=False)
    script = f"mkdir -p .venv/bin && ln -s {sys.executable} .venv/bin/python && env > seen.txt"
    write(folder.project, {"infra/set-up.sh": f'cd "$(dirname "$0")/.." && {script}'.encode()})
    rebuild.build_environment(folder)
    assert folder.python == folder.project / ".venv/bin/python"
    assert folder.python.exists()
    (folder.project / "infra/set-up.sh").write_text("exit 1")
    rebuild.build_environment(folder)  # a second run does not set up again


def test_a_commit_without_the_script_is_set_up_by_its_makefile(opened: OpenFolder) -> None:
    folder = opened(here=False)
    write(folder.project, {"Makefile": b".venv/installed:\n\tmkdir .venv\n\ttouch $@\n"})
    rebuild.build_environment(folder)
    assert (folder.project / ".venv/installed").exists()


def test_a_set_up_without_network_is_an_error_that_names_here(opened: OpenFolder) -> None:
    folder = opened(here=False)
    write(folder.project, {"infra/set-up.sh": b'echo "error: no network" >&2; exit 1'})
    with pytest.raises(UserError, match=r"add --here .*Received: no network"):
        rebuild.build_environment(folder)


def test_the_end_of_a_long_message_is_kept_because_it_has_the_cause(opened: OpenFolder) -> None:
    folder = opened(here=False)
    lines = "for i in 1 2 3 4 5 6 7 8 9; do seq -s ' ' 40; done; echo no space left; exit 1"
    write(folder.project, {"infra/set-up.sh": lines.encode()})
    with pytest.raises(UserError, match=r"Received: … .* no space left$"):
        rebuild.build_environment(folder)


def test_here_refuses_packages_that_the_commits_stages_would_refuse(opened: OpenFolder) -> None:
    folder = opened()
    write(folder.project, {"pipelines/packages/data.txt": b"numpy==0.0.1\n"})
    with pytest.raises(UserError, match=r"leave out --here.*numpy .* instead of 0.0.1"):
        rebuild.build_environment(folder)


def test_here_only_warns_if_the_commit_checks_no_packages(
    opened: OpenFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = opened()
    write(folder.project, {"requirements.lock": b"numpy==0.0.1 \\\n"})
    rebuild.build_environment(folder)
    assert "instead of 0.0.1" in capsys.readouterr().out


def test_nothing_leads_the_stages_to_the_workspace(
    opened: OpenFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "_MLFLOW_SERVER_ARTIFACT_ROOT",
                 "DVC_EXP_NAME", "PREFECT_API_URL", "GIT_DIR", "GIT_WORK_TREE", "PYTHONPATH",
                 "FOVEA_FLOW_RUN_ID")  # fmt: skip
    folder = opened()
    for name in variables:
        monkeypatch.setenv(name, "/workspace")
    monkeypatch.setenv("FOVEA_WORKERS", "2")
    environment = folder.environment
    assert "/workspace" not in environment.values()
    assert environment["MLFLOW_TRACKING_URI"] == "sqlite:///mlflow.db"
    assert environment["PYTHONPATH"] == str(folder.project)
    assert environment["FOVEA_WORKERS"] == "2"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
