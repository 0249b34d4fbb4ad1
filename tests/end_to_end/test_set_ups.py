"""Set-ups that people really have → the dvc.lock of a plain clone; no command has a traceback."""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT, edit_params, run, stages_run
from tests.end_to_end.test_repro import STAGES

ODD = """it's 100%41 "odd" #1 ?x=1&y;[z] größe"""
NO_HOME = "/proc/home"  # a folder that is missing and that root cannot make either
STRANGER = 54321  # the number of another user
# Root without its privileges: a user who may do what the rights of a file allow, and no more.
WITHOUT_PRIVILEGES = "setpriv --inh-caps=-all --bounding-set=-all"


@pytest.fixture(scope="module")
def root():
    """Skip a test if this is not root, or not Linux: only root can change the owner of files."""
    if os.getuid() != 0 or not all(map(shutil.which, ("setpriv", "unshare"))):
        pytest.skip("needs root, setpriv and unshare")


@pytest.mark.slow
def test_the_flow_gives_what_dvc_repro_gives_below_odd_characters_with_a_closed_umask_and_no_home(
    clone, first_generation, tmp_path
):
    folder = shutil.copytree(clone("plain"), tmp_path / ODD, symlinks=True)
    places = {"HOME": NO_HOME, "PREFECT_HOME": str(tmp_path / "prefect")}
    printed = run(folder, "umask 077 && fovea retrain", **places)
    for same in ("dvc.lock", "data/evaluate/predictions.parquet", "data/train/model.keras"):
        assert (folder / same).read_bytes() == (first_generation / same).read_bytes(), same
    assert [stage for stage in STAGES if f"Running stage '{stage}'" not in printed] == []
    listed = run(folder, "prefect task-run ls --limit 50 -o json", **places)
    tasks, _ = json.JSONDecoder().raw_decode(listed[listed.index("[\n") :])  # a log line follows
    # The cache of the clone does not have the images yet, so DVC also looks at data/raw.dvc.
    assert sorted(task["name"] for task in tasks) == sorted(["data/raw.dvc", *STAGES])
    again = run(folder, "fovea retrain", **places)
    assert ("Running stage" in again, "no stage" in again.lower()) == (False, True), again
    # infra/README.md says `COLUMNS=200 prefect flow-run ls`, because ids are cut in fewer columns.
    assert len(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
                          run(folder, "prefect flow-run ls", **places))) == 2  # fmt: skip
    # The model's file is read again from MLflow, below a path that MLflow writes as an address.
    assert "is now the champion" in run(folder, "fovea promote 1 --reason good", HOME=NO_HOME)
    assert "promote" in run(folder, "fovea history")


@pytest.mark.slow
def test_a_submodule_whose_images_are_links_into_a_cache_on_another_disk(
    repository, first_generation, tmp_path, request
):
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    cache = tempfile.mkdtemp(dir=shared_memory)
    request.addfinalizer(lambda: shutil.rmtree(cache))
    add = "git -c protocol.file.allow=always submodule --quiet add"
    run(tmp_path, f"git init -q . && {add} {repository} models/digits")
    folder = tmp_path / "models/digits"
    run(folder, f"cp -r {repository}/.dvc/cache/. {cache} && dvc cache dir --local {cache}")
    run(folder, "dvc config --local cache.type symlink && dvc checkout -q data/raw.dvc")
    assert all(path.is_symlink() for path in (folder / "data/raw").rglob("*.png"))
    run(folder, "dvc repro")
    assert (folder / "dvc.lock").read_bytes() == (first_generation / "dvc.lock").read_bytes()
    assert (folder / "data/train/model.keras").is_symlink()
    assert run(folder, "git rev-parse HEAD").strip() in run(folder, "fovea explain 1")
    assert "fail" not in run(folder, "fovea doctor").lower()


@pytest.mark.slow
def test_hard_links_into_the_cache_are_replaced_and_never_written_through(
    clone, repository, first_generation
):
    folder = clone("hard")
    run(folder, f"cp -r {repository}/.dvc/cache .dvc")
    run(folder, "dvc config --local cache.type hardlink && dvc checkout -q --relink data/raw.dvc")
    assert all(path.stat().st_nlink > 1 for path in (folder / "data/raw").rglob("*.png"))
    run(folder, "dvc repro")
    assert (folder / "dvc.lock").read_bytes() == (first_generation / "dvc.lock").read_bytes()
    edit_params(folder, {"train": {"finetune": {"epochs": 1}}})
    assert stages_run(run(folder, "dvc repro"))[-3:] == ["train", "evaluate", "register"]
    run(folder, "fovea data verify")  # fails if a file of the cache has changed
    run(folder, "git checkout -q params.yaml && dvc checkout -q")


@pytest.mark.slow
@pytest.mark.usefixtures("root")
def test_images_of_another_user_a_small_folder_for_temporary_files_and_no_home(
    clone, first_generation, tmp_path
):
    """As in a container: nothing is writable but the workspace, and no program runs in TMPDIR."""
    folder = clone("container")
    run(folder, f"chown -R {STRANGER} data/raw && chmod -R a=rX data/raw")

    def repro(size: str, expect: int) -> str:
        mount = f"mount -t tmpfs -o noexec,size={size} tmpfs {tmp_path}"
        start = f"unshare -m sh -c '{mount} && exec {WITHOUT_PRIVILEGES} dvc repro'"
        return run(folder, start, expect, TMPDIR=str(tmp_path), HOME=NO_HOME)

    full = repro("64k", 255)  # the stage `register` writes the model into TMPDIR
    assert "No space left on device" in full
    assert ("Traceback" in full, stages_run(full)[-1]) == (False, "register")
    assert stages_run(repro("16m", 0)) == ["register"]
    assert (folder / "dvc.lock").read_bytes() == (first_generation / "dvc.lock").read_bytes()


@pytest.fixture(scope="module")
def of_a_stranger(first_generation, tmp_path_factory, root):
    """A copy of `first_generation` that belongs to another user."""
    folder = shutil.copytree(
        first_generation, tmp_path_factory.mktemp("stranger") / "ws", symlinks=True
    )
    run(folder, f"chmod -R a+rX,go-w . && chown -R {STRANGER} .")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["fovea review", "fovea history", "fovea explain 1", "fovea summary", "fovea doctor",
     "fovea data verify", "fovea data diff", "fovea data add ../cats", "fovea labels",
     "fovea promote 1 --reason good", "python -m pipelines split", "dvc repro"],
)  # fmt: skip
def test_a_user_who_may_only_read_gets_an_answer_or_a_sentence(command, of_a_stranger):
    printed = run(of_a_stranger, f"{WITHOUT_PRIVILEGES} {command}", expect=None, HOME=NO_HOME)
    assert "Traceback" not in printed, printed
    assert printed.strip()


@pytest.mark.slow
def test_repro_with_pull_fetches_results_and_runs_nothing(continued, tmp_path):
    run(continued, f"dvc remote add -d backup {tmp_path}/remote && dvc push -q")
    run(continued, "git add -A && git commit -qm 'first model'")
    elsewhere = tmp_path / "elsewhere"
    run(tmp_path, f"git clone -q {continued} {elsewhere}")
    assert stages_run(run(elsewhere, "dvc repro --pull")) == []
    assert (elsewhere / "data/train/model.keras").is_file()
    assert "up to date" in run(elsewhere, "dvc status")
    # The registry is neither in git nor in DVC.
    assert "set MLFLOW_TRACKING_URI to its address" in run(elsewhere, "fovea review")
    run(elsewhere, "dvc repro --force --single-item register")
    assert "version 1" in run(elsewhere, "fovea review")


@pytest.mark.slow
def test_after_gc_nothing_runs_again_and_what_is_lost_is_one_sentence(continued):
    run(continued, "git add -A && git commit -qm 'first model'")
    edit_params(continued, {"evaluate": {"resamples": 100}})
    run(continued, "dvc repro evaluate && git add -A && git commit -qm 'fewer resamples'")
    run(continued, "dvc gc --workspace --force --quiet")
    assert stages_run(run(continued, "dvc repro evaluate")) == []
    run(continued, "fovea data verify")
    run(continued, "git checkout -q HEAD~1")
    assert "Traceback" not in run(continued, "dvc checkout -q", expect=None)
    assert stages_run(run(continued, "dvc repro evaluate")) == ["evaluate"]


@pytest.mark.slow
def test_queued_experiments_run_and_can_be_applied(continued):
    run(continued, "git add -A && git commit -qm 'first model'")
    model = (continued / "data/train/model.keras").read_bytes()
    run(continued, "dvc exp run --queue -S train.finetune.epochs=1 --name short")
    printed = run(continued, "dvc exp run --run-all")
    assert "short" in printed, printed
    run(continued, "dvc exp apply short")
    assert (continued / "data/train/model.keras").read_bytes() != model
    assert "epochs: 1" in run(continued, "git diff params.yaml")
    command = re.search(r"dvc exp show --only-changed \S.*'", (ROOT / "README.md").read_text())
    table = run(continued, f"{command[0]} --csv").splitlines()
    assert "accuracy" in table[0]
    assert table[0].count(",") < 20


def test_images_and_params_committed_before_a_run_give_a_clean_lineage(first_generation):
    """The fixture commits first, as README says."""
    readme = (ROOT / "README.md").read_text()
    order = ("`fovea data add FOLDER", "`git add -A && git commit`: images", "6. `dvc repro`")
    steps = [readme.index(step) for step in order]
    assert steps == sorted(steps)
    assert re.search(r"uncommitted changes\s+no\b", run(first_generation, "fovea explain 1"))
