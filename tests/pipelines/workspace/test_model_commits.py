from pathlib import Path

import pytest

from pipelines.workspace.model_commits import commit_of_model, md5_of_file
from tests.pipelines.workspace.test_lineage import git

MD5 = "f97c5d29941bfb1b2fdab0874906ab82"  # of b"one"


def commit(root: Path, md5: str) -> str:
    """Commit a dvc.lock that names the model, and return the hash of the commit."""
    (root / "dvc.lock").write_text(f"stages:\n  train:\n    outs:\n    - md5: {md5}\n")
    git(root, "add", "dvc.lock")
    git(root, "commit", "-m", md5)
    head = (root / ".git/HEAD").read_text().split()[-1]
    return (root / ".git" / head).read_text().strip()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git(tmp_path, "init", "-b", "main")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_md5_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"one")
    assert md5_of_file(tmp_path / "model.keras") == MD5


def test_the_oldest_commit_with_the_model_is_found_also_on_another_branch(root: Path) -> None:
    commit(root, "0" * 32)
    git(root, "switch", "-c", "other")
    first = commit(root, MD5)
    (root / "dvc.lock").write_text((root / "dvc.lock").read_text() + "# changed\n")
    git(root, "commit", "-am", "the same model")
    git(root, "switch", "main")
    assert commit_of_model(MD5) == first
    assert commit_of_model("1" * 32) is None


def test_a_commit_of_an_experiment_is_not_named_because_dvc_removes_it(root: Path) -> None:
    commit(root, "0" * 32)
    git(root, "switch", "-c", "experiment")
    commit(root, MD5)
    git(root, "update-ref", "refs/exps/aa/bb/puffy-unau", "HEAD")
    git(root, "switch", "main")
    git(root, "branch", "-D", "experiment")
    assert commit_of_model(MD5) is None


def test_without_commits_or_without_git_no_commit_is_found(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commit_of_model(MD5) is None
    outside = tmp_path_factory.mktemp("outside")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(outside.parent))
    monkeypatch.chdir(outside)
    assert commit_of_model(MD5) is None
