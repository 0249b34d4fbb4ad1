"""Commits that hold the files they should and nothing else."""

import logging
import os
import subprocess
from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.workspace.commits import commit_files, prepare_commits

PARAMS, LOCK = Path("params.yaml"), Path("dvc.lock")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit in which other files have changes, staged and not."""
    monkeypatch.chdir(tmp_path)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ann")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ann@localhost")
    git("init", "-q", "-b", "main")
    for name in ("params.yaml", "code.py", "notes.txt"):
        Path(name).write_text("first\n")
    git("add", ".")
    git("commit", "-qm", "first")
    Path("code.py").write_text("half done\n")
    Path("notes.txt").write_text("staged\n")
    git("add", "notes.txt")
    return tmp_path


def test_only_the_named_files_are_committed(repository: Path) -> None:
    assert prepare_commits(PARAMS, None)
    PARAMS.write_text("second\n")
    LOCK.write_text("new\n")
    commit_files([PARAMS, LOCK, Path("data/raw.dvc")], "second")
    assert git("log", "--format=%s %an", "-1") == "second Ann\n"
    assert git("show", "--format=", "--name-only").split() == ["dvc.lock", "params.yaml"]
    assert git("status", "--porcelain").splitlines() == [" M code.py", "M  notes.txt"]


def test_files_without_a_change_are_no_commit(repository: Path) -> None:
    commit_files([PARAMS, LOCK], "nothing")
    assert git("log", "--format=%s") == "first\n"


def test_a_new_branch_begins_where_we_are_and_an_old_one_is_refused(repository: Path) -> None:
    assert prepare_commits(PARAMS, "warm")
    assert git("branch", "--show-current") == "warm\n"
    PARAMS.write_text("second\n")
    commit_files([PARAMS], "second")
    assert git("log", "--format=%s", "main") == "first\n"
    with pytest.raises(UserError, match=r"or add --no-commit. Received: .*main.* already exists"):
        prepare_commits(PARAMS, "main")
    assert git("branch", "--show-current") == "warm\n"


def test_changes_of_ones_own_are_not_swept_into_the_commit(repository: Path) -> None:
    PARAMS.write_text("mine\n")
    with pytest.raises(
        UserError, match=r"uncommitted changes.*--no-commit. Received: M params.yaml"
    ):
        prepare_commits(PARAMS, "warm")
    assert git("branch", "--show-current") == "main\n"


def test_an_author_that_git_does_not_know_is_found_out_before_any_work(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(repository))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    git("config", "user.useConfigOnly", "true")
    with pytest.raises(UserError, match=r"GIT_COMMITTER_IDENT` fails; fix git's error"):
        prepare_commits(PARAMS, None)


def test_without_a_repository_nothing_is_committed_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(logging.getLogger("pipelines"), "propagate", True)
    assert not prepare_commits(PARAMS, None)
    assert "this is no git repository, so nothing is committed" in caplog.text
