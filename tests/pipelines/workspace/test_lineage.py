import subprocess
from pathlib import Path

import pytest

from pipelines.workspace import machine
from pipelines.workspace.lineage import KEYS, data_hash, lineage, lineage_of_model

LOCK = """
schema: '2.0'
stages:
  ingest:
    deps:
    - {path: components/images/decoder.py, md5: c0de}
    - {path: data/raw, hash: md5, md5: 0123456789abcdef0123456789abcdef.dir, nfiles: 9}
  split:
    outs:
    - {path: data/split/splits.parquet, hash: md5, md5: 5p117}
  prepare:
    outs:
    - {path: data/prepare/test.parquet, hash: md5, md5: aa}
    - {path: data/prepare/train.parquet, hash: md5, md5: bb}
"""


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    subprocess.run(["git", "-C", root, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text("train:\n  seed: 17\nsplit:\n  val: 0.1\n  seed: 4\n")
    (tmp_path / "dvc.lock").write_text(LOCK)
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_a_folder_outside_git_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert lineage(tmp_path)["git.commit"] == "none (not a git repository)"


def test_a_machine_without_git_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert lineage(repository)["git.commit"] == "none (git is not installed)"


def test_a_repository_without_commits_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init")
    assert lineage(tmp_path)["git.commit"] == "none (no commit yet)"


def test_a_clean_tree_has_a_commit_and_is_not_dirty(repository: Path) -> None:
    tags = lineage(repository)
    assert len(tags["git.commit"]) == 40
    assert tags["git.dirty"] == "no"


def test_changed_renamed_and_new_files_make_a_tree_dirty(repository: Path) -> None:
    (repository / "kept.py").write_text("x = 1\n")
    git(repository, "add", "kept.py")
    git(repository, "commit", "-m", "second")
    git(repository, "mv", "kept.py", "renamed.py")
    (repository / "params.yaml").write_text("train: {seed: 18}\n")
    (repository / "ein neuer ü.py").write_text("")
    assert lineage(repository)["git.dirty"] == "yes: ein neuer ü.py, params.yaml, renamed.py"


def test_dvc_lock_alone_does_not_make_a_tree_dirty(repository: Path) -> None:
    with (repository / "dvc.lock").open("a") as lock:
        lock.write("# written by the stages that run\n")
    assert lineage(repository)["git.dirty"] == "no"


def test_hashes_come_from_dvc_lock(repository: Path) -> None:
    tags = lineage(repository)
    assert tags["dvc.data_raw"] == "0123456789abcdef0123456789abcdef.dir"
    assert tags["dvc.splits"] == "5p117"
    assert len(tags["dvc.prepared"]) == 64
    assert (tags["split.seed"], tags["train.seed"]) == ("4", "17")


def test_data_that_were_only_added_are_known_by_their_dvc_file(repository: Path) -> None:
    (repository / "dvc.lock").unlink()
    (repository / "data").mkdir()
    (repository / "data/raw.dvc").write_text("outs:\n- {md5: feed.dir, path: raw}\n")
    assert data_hash(repository) == "feed.dir"


def test_torn_files_leave_lineage_with_what_is_left(repository: Path) -> None:
    (repository / "dvc.lock").write_bytes(b"stages:\n  ingest: [\xff")
    (repository / "params.yaml").write_text("just words")
    tags = lineage(repository)
    assert "dvc.data_raw" not in tags
    assert "params" not in tags
    assert tags["git.dirty"] == "yes: params.yaml"


def test_comments_and_order_do_not_change_the_hash_of_params(repository: Path) -> None:
    before = lineage(repository)["params"]
    (repository / "params.yaml").write_text(
        "# a card\nsplit: {seed: 4, val: 0.10}\ntrain: {seed: 17}\n"
    )
    assert lineage(repository)["params"] == before
    (repository / "params.yaml").write_text("split: {seed: 4, val: 0.11}\ntrain: {seed: 17}\n")
    assert lineage(repository)["params"] != before


def test_the_flow_run_is_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "prefect.flow_run_id" not in lineage(repository)
    monkeypatch.setenv("FOVEA_FLOW_RUN_ID", "4711")
    assert lineage(repository)["prefect.flow_run_id"] == "4711"


def test_the_experiment_of_dvc_is_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "dvc.experiment" not in lineage(repository)
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-unau")
    assert lineage(repository)["dvc.experiment"] == "puffy-unau"
    assert lineage(repository).keys() <= set(KEYS)


def test_a_version_has_the_lineage_of_its_training(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    (repository / "model.keras").write_bytes(b"one")
    trained = {"git.commit": "4711", "git.dirty": "no", "packages": "keras 1.0", "stage": "train"}
    md5 = "f97c5d29941bfb1b2fdab0874906ab82"  # of b"one"
    kept = {key: value for key, value in trained.items() if key != "stage"}
    assert lineage_of_model(Path("model.keras"), trained) == {**kept, "dvc.model": md5}


def test_a_model_that_was_trained_elsewhere_has_the_lineage_of_the_workspace_but_no_machine(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    (repository / "model.keras").write_bytes(b"one")
    tags = lineage_of_model(Path("model.keras"), {"adopted": "yes", "git.commit": "4711"})
    assert tags.items() >= lineage().items()
    assert not tags.keys() & set(machine.KEYS)
