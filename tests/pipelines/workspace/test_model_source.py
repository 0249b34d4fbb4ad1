import subprocess
from pathlib import Path

import pytest
import yaml

from components.errors import UserError
from pipelines.workspace.model_source import find_source

MODEL, OTHER = "a" * 32, "b" * 32
CALLED = "version 3 of digits"
UNKNOWN = "none (not recorded)"
NOWHERE = "1" * 40


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write_lock(md5: str) -> None:
    out = {"path": "data/train/model.keras", "hash": "md5", "md5": md5}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"train": {"outs": [out]}}}))


def commit(message: str) -> str:
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", message)
    return git("rev-parse", "HEAD")


def commit_lock(md5: str) -> str:
    write_lock(md5)
    return commit(f"the model {md5}")


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository with one commit, which has code and no dvc.lock; return the commit."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch=main")
    Path("train.py").write_text("train()")
    return commit("code")


def test_the_code_is_in_the_named_commit_and_the_hashes_are_in_a_later_one(code: str) -> None:
    holder = commit_lock(MODEL)
    commit_lock(OTHER)
    source = find_source(code, MODEL, CALLED)
    assert source.lock_commit == holder
    assert source.commits == (code, holder)
    assert MODEL in source.lock


def test_the_oldest_dvc_lock_with_the_model_counts(code: str) -> None:
    oldest = commit_lock(MODEL)
    commit_lock(OTHER)
    commit_lock(MODEL)
    assert find_source(code, MODEL, CALLED).lock_commit == oldest


def test_a_dvc_lock_on_another_branch_is_found(code: str) -> None:
    git("checkout", "--quiet", "-b", "side")
    holder = commit_lock(MODEL)
    git("checkout", "--quiet", "main")
    assert find_source(UNKNOWN, MODEL, CALLED).commits == (holder,)


def test_a_dvc_lock_that_a_merge_wrote_is_found(code: str) -> None:
    git("checkout", "--quiet", "-b", "side")
    commit_lock(OTHER)
    git("checkout", "--quiet", "main")
    git("merge", "--quiet", "--no-ff", "--no-commit", "side")
    merge = commit_lock(MODEL)
    assert find_source(UNKNOWN, MODEL, CALLED).lock_commit == merge


def test_a_dvc_lock_that_is_not_committed_yet_is_used(code: str) -> None:
    write_lock(MODEL)
    later = commit_lock(OTHER)
    write_lock(MODEL)
    source = find_source(code, MODEL, CALLED)
    assert source.lock_commit is None
    assert source.commits == (code, later)


def test_without_any_dvc_lock_the_message_says_what_to_commit(code: str) -> None:
    commit_lock(OTHER)
    with pytest.raises(UserError, match=r"no dvc.lock lists the model .*Received: md5"):
        find_source(code, MODEL, CALLED)


def test_a_commit_that_this_clone_lacks_is_to_be_fetched(code: str) -> None:
    with pytest.raises(UserError, match=r"not in this clone; `git fetch --all`.*Received: 1{40}"):
        find_source(NOWHERE, MODEL, CALLED)


def test_a_shallow_clone_is_to_be_deepened(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_lock(OTHER)
    git("clone", "--quiet", "--depth=1", tmp_path.as_uri(), str(tmp_path / "shallow"))
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(UserError, match="`git fetch --unshallow`"):
        find_source(code, MODEL, CALLED)


def test_a_holder_of_the_model_is_enough_if_the_named_commit_was_never_pushed(code: str) -> None:
    holder = commit_lock(MODEL)
    assert find_source(NOWHERE, MODEL, CALLED).commits == (holder,)


def test_outside_of_git_the_message_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"git must answer.*Received: not a git repository"):
        find_source(UNKNOWN, MODEL, CALLED)
