"""git → its answer, or one sentence that tells why there is none, whatever git finds wrong."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from pipelines.workspace import git as runner
from pipelines.workspace.git import GitError, NoRepositoryError, git
from pipelines.workspace.lineage import lineage


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "-C", tmp_path, "init", "--quiet"], check=True)
    return tmp_path


def fake_git(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "bin").mkdir()
    (folder / "bin/git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


def test_an_answer_has_a_status_and_text(repository: Path) -> None:
    assert git("rev-parse", "--is-inside-work-tree", root=repository).stdout == "true\n"
    assert git("rev-parse", "--verify", "HEAD", root=repository).returncode != 0


def test_outside_of_a_repository_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")  # git must answer in English all the same
    with pytest.raises(NoRepositoryError, match=r"^not a git repository$"):
        git("status", root=tmp_path)


def test_without_git_it_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitError, match=r"^git is not installed$"):
        git("status", root=repository)


def test_a_repository_of_another_user_is_not_taken_for_none(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(GitError, match=r"^detected dubious ownership in repository at ") as caught:
        git("status", root=repository)
    assert not isinstance(caught.value, NoRepositoryError)
    assert "dubious ownership" in lineage(repository)["git.commit"]


def test_a_git_that_hangs_is_given_up(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_git(repository, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(runner, "TIMEOUT_S", 0.2)
    started = time.monotonic()
    with pytest.raises(GitError, match="does not answer"):
        git("status", root=repository)
    assert time.monotonic() - started < 10
    assert "does not answer" in lineage(repository)["git.commit"]


def test_a_git_that_fails_gives_its_own_reason_to_lineage(repository: Path) -> None:
    (repository / ".git/index").write_bytes(b"torn")
    assert "index file" in lineage(repository)["git.commit"]


def test_the_way_out_of_dubious_ownership_is_named(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    way_out = rf"if you trust it: git config --global --add safe.directory {repository}$"
    with pytest.raises(GitError, match=way_out):
        git("status", root=repository)


def test_a_repository_that_git_cannot_read_is_not_taken_for_none(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = repository / "below"
    below.mkdir()
    (repository / ".git/HEAD").rename(repository / ".git/HEAD.lost")
    (repository / "moved").mkdir()
    (repository / "moved/.git").write_text("gitdir: ../nowhere\n")  # a submodule that was copied
    for root, words in (
        (below, f"git cannot use {repository}/.git; "),
        (repository / "moved", "/nowhere"),
    ):
        with pytest.raises(GitError, match=words) as caught:
            git("status", root=root)
        assert not isinstance(caught.value, NoRepositoryError)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    with pytest.raises(GitError, match="not a git repository: '/nowhere'") as caught:
        git("status", root=repository)
    assert not isinstance(caught.value, NoRepositoryError)


def test_a_submodule_has_a_commit(tmp_path: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "protocol.file.allow=always"]
    for name in ("inner", "outer"):
        subprocess.run(["git", "init", "--quiet", tmp_path / name], check=True)
    commit = ["git", *identity, "-C", tmp_path / "inner", "commit", "--quiet", "--allow-empty"]
    subprocess.run([*commit, "--message", "a"], check=True)
    add = ["git", *identity, "-C", tmp_path / "outer", "submodule", "--quiet", "add"]
    subprocess.run([*add, tmp_path / "inner", "workspace"], check=True)
    tags = lineage(tmp_path / "outer/workspace")
    assert len(tags["git.commit"]) == 40
    assert tags["git.dirty"] == "no"
