"""`fovea data diff` with real git and DVC: what changed since a revision, or one sentence."""

import json
import os
import shutil
from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.artifacts import MANIFEST, RAW
from pipelines.commands.data_diff import show_difference
from pipelines.workspace import dvc_files, revisions
from tests.pipelines.versioned import IMAGES, commit, dvc, ingest, make_repository, read, run, write

OWLS = {f"owl/{n}.png": f"owl {n}".encode() for n in range(3)}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generations of images: owls came, one cat became a dog, one dog was renamed."""
    folder, here = tmp_path_factory.mktemp("diff") / "repository", Path.cwd()
    make_repository(folder)
    write(RAW, IMAGES)
    dvc("add", "--quiet", str(RAW))
    commit("images, not yet ingested")
    ingest()
    commit("first")
    run("git", "tag", "first")
    write(RAW, OWLS)
    (RAW / "cat/0.png").rename(RAW / "dog/was a cat.png")
    (RAW / "dog/0.png").rename(RAW / "dog/renamed.png")
    (RAW / "dog/1.png").unlink()
    (RAW / "cat/1.png").write_bytes(b"other")
    dvc("add", "--quiet", str(RAW))
    ingest()
    commit("second")
    os.chdir(here)
    return folder


def shown(capsys: pytest.CaptureFixture[str], revision: str | None = None) -> str:
    show_difference(revision, as_json=False)
    return capsys.readouterr().out


def sentence(revision: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        show_difference(revision, as_json=False)
    assert "Received: " in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def object_of(revision: str) -> Path:
    name = revisions.revision_at(revision).manifest
    assert name is not None
    return dvc_files.object_path(name)


def test_every_kind_of_change_is_shown_with_its_first_examples(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(capsys, "first")
    assert "owl/0.png" in out
    assert "cat/0.png → dog/was a cat.png (cat → dog)" in out
    assert "dog/0.png → dog/renamed.png" in out
    headings = [line for line in out.splitlines() if line.split(":")[0] in
                ("added", "removed", "relabelled", "moved", "changed")]  # fmt: skip
    assert headings == ["added: 3", "removed: 1", "relabelled: 1", "moved: 1", "changed: 1"]
    (owls,) = [line for line in out.splitlines() if "│ owl" in line]
    assert [cell.strip() for cell in owls.strip("│").split("│")] == [
        "owl", "0", "3", "3", "0", "0", "0", "0", "0"
    ]  # fmt: skip


def test_without_a_revision_it_is_the_last_commit_with_other_images(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run("git", "rev-parse", "first")
    assert f"compared with {first[:12]}" in shown(capsys)
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "\n")
    commit("no other images")
    assert f"compared with {first[:12]}" in shown(capsys)
    second = run("git", "rev-parse", "HEAD~1")
    write(RAW, {"owl/9.png": b"nine"})
    dvc("add", "--quiet", str(RAW))
    ingest()
    out = shown(capsys)
    assert f"compared with {second[:12]}" in out
    assert "added: 1" in out


def test_json_holds_it_all_and_nothing_else_is_printed(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_difference("first", as_json=True)
    tree = json.loads(capsys.readouterr().out)
    assert tree["revision"] == run("git", "rev-parse", "first")
    assert tree["notes"] == []
    assert [tree[kind]["images"] for kind in ("added", "removed", "relabelled")] == [3, 1, 1]
    assert tree["unchanged"] == 2


def test_no_change_is_one_line(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "HEAD").startswith(f"the same {len(read(RAW))} images")


def test_a_manifest_older_than_the_images_is_reported(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(RAW, {"owl/9.png": b"nine"})
    dvc("add", "--quiet", str(RAW))
    assert "not made from the current data/raw; run `dvc repro ingest`" in shown(capsys, "first")
    MANIFEST.unlink()
    with pytest.raises(UserError, match="run `dvc repro ingest` first"):
        show_difference("first", as_json=False)


def test_a_revision_whose_manifest_is_of_other_images_is_reported(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(RAW, {"owl/9.png": b"nine"})
    dvc("add", "--quiet", str(RAW))
    commit("committed before dvc repro")
    assert "data/raw.dvc was committed before `dvc repro`" in shown(capsys, "HEAD")


def test_a_manifest_that_left_the_cache_comes_from_the_remote(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shown(capsys, "first")
    dvc("remote", "add", "--quiet", "--local", "--default", "backup", str(tmp_path / "remote"))
    dvc("push", "--quiet", "--all-commits")
    object_of("first").unlink()
    assert shown(capsys, "first") == before


def test_a_manifest_that_is_lost_is_one_sentence(repository: Path) -> None:
    commit_id = run("git", "rev-parse", "first")
    object_of("first").unlink()
    assert sentence("first").endswith(f"dvc repro ingest). Received: {commit_id}")
    assert "`dvc get` cannot fetch it (failed to get" in sentence("first")


def test_a_remote_that_does_not_answer_is_no_remote_without_the_manifest(repository: Path) -> None:
    dvc("remote", "add", "--quiet", "--local", "--default", "backup", "http://127.0.0.1:9/fovea")
    object_of("first").unlink()
    assert sentence("first").startswith("the DVC remote cannot be used (")


@pytest.mark.parametrize("revision", ["nowhere", "", "--help", "HEAD~99", "first:data", "a b"])
def test_an_unknown_revision_is_one_sentence(revision: str, repository: Path) -> None:
    assert f"git knows no revision {revision!r}" in sentence(revision)


def test_a_revision_without_images_is_one_sentence(repository: Path) -> None:
    assert "its dvc.lock must have a manifest" in sentence("first~1")


def test_without_git_it_is_one_sentence(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    shutil.rmtree(".git")
    assert "not a git repository" in sentence()
    assert "not a git repository" in sentence("HEAD")
    assert revisions.previous_manifest() is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert "git is not installed" in sentence("HEAD")
    assert revisions.previous_manifest() is None


def test_a_git_that_fails_is_no_history_without_images(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    for revision in (None, "HEAD"):
        assert "git fails; fix git's error. Received: detected dubious" in sentence(revision)
    assert revisions.previous_manifest() is None
    assert "because git fails: detected dubious ownership" in capsys.readouterr().out
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    [pack] = [path for path in Path(".git/objects").glob("*/*") if path.name in _tree_of("HEAD")]
    pack.unlink()
    assert "git fails" in sentence()


def _tree_of(revision: str) -> str:
    return run("git", "rev-parse", f"{revision}^{{tree}}")


def test_without_other_images_it_is_one_sentence(repository: Path) -> None:
    run("git", "checkout", "--quiet", "first")
    assert "no commit has images that differ" in sentence()


def test_in_a_shallow_clone_the_error_says_how_to_get_the_rest(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("git", "clone", "--quiet", "--depth=1", f"file://{repository}", str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    assert "`git fetch --unshallow`" in sentence()
    assert "`git fetch --unshallow`" in sentence("HEAD~1")
    assert revisions.previous_manifest() is None


def test_before_the_first_commit_it_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_repository(tmp_path / "new")
    monkeypatch.chdir(tmp_path / "new")
    assert "no commit has images that differ" in sentence()
    assert "git knows no revision" in sentence("HEAD")
    assert revisions.previous_manifest() is None


def test_the_previous_manifest_is_that_of_the_last_other_images(repository: Path) -> None:
    previous = revisions.previous_manifest()
    assert previous is not None
    assert previous[0] == run("git", "rev-parse", "first")
    assert sorted(previous[1]["path"]) == sorted(IMAGES)
    assert {"path", "label", "image_id"} <= set(previous[1].columns)


def test_the_previous_manifest_is_the_same_before_and_after_a_commit(repository: Path) -> None:
    write(RAW, {"owl/9.png": b"nine"})
    dvc("add", "--quiet", str(RAW))
    ingest()
    before = revisions.previous_manifest()
    commit("third")
    after = revisions.previous_manifest()
    assert before is not None
    assert after is not None
    assert before[0] == after[0] == run("git", "rev-parse", "HEAD~1")


@pytest.mark.parametrize("damage", ["missing", "cut", "not parquet"])
def test_a_previous_manifest_that_cannot_be_read_is_none(damage: str, repository: Path) -> None:
    path = object_of("first")
    path.chmod(0o644)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:99] if damage == "cut" else b"<html>")
    assert revisions.previous_manifest() is None


def test_the_previous_manifest_is_found_behind_many_experiments(repository: Path) -> None:
    for number in range(5):
        lock = Path("dvc.lock").read_text() + f"# {number}\n"
        Path("dvc.lock").write_text(lock)
        commit(f"experiment {number}")
    previous = revisions.previous_manifest()
    assert previous is not None
    assert previous[0] == run("git", "rev-parse", "first")


def test_the_previous_images_of_a_merge_are_those_of_the_main_line(repository: Path) -> None:
    run("git", "checkout", "--quiet", "-b", "side")
    write(RAW, {"owl/9.png": b"nine"})
    dvc("add", "--quiet", str(RAW))
    commit("more on a branch")
    second = run("git", "rev-parse", "main")
    run("git", "checkout", "--quiet", "main")
    run("git", "merge", "--quiet", "--no-ff", "--no-edit", "side")
    previous = revisions.previous_manifest()
    assert previous is not None
    assert previous[0] == second


def test_a_repository_below_that_of_git_is_found(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A monorepo: git's root is above ours."""
    shutil.rmtree(".git")
    monkeypatch.chdir(tmp_path)
    run("git", "init", "--quiet")
    commit("both")
    monkeypatch.chdir(repository)
    now = revisions.current()
    assert revisions.revision_at("HEAD").images == now.images is not None
    assert revisions.revision_at("HEAD").manifest_is_of_images
