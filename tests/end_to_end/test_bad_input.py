"""What a user gets wrong → one sentence, exit status 1, no traceback, before any work is done."""

import re
import shutil
import socket
import time

import pytest

from pipelines.workspace.lineage import lineage
from tests.end_to_end.conftest import ROOT, edit_params, run, write_digits


@pytest.fixture
def folder(repository, tmp_path):
    """A folder with the repository's code and params, and no images."""
    for name in ("components", "pipelines"):
        shutil.copytree(repository / name, tmp_path / name)
    shutil.copy(repository / "params.yaml", tmp_path)
    return tmp_path


def refused(folder, stage, **env):
    printed = run(folder, f"python -m pipelines {stage}", expect=1, **env)
    assert "Traceback" not in printed
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, printed
    assert not (folder / "data/ingest").exists()
    return errors[0]


def test_no_images_at_all(folder):
    assert re.search(r"data/raw", refused(folder, "ingest"))


def test_no_class_folder(folder):
    (folder / "data/raw").mkdir(parents=True)
    assert re.search(r"class", refused(folder, "ingest"))


def test_one_class_only(folder):
    write_digits(folder, 0, 5)
    for label in range(1, 10):
        shutil.rmtree(folder / f"data/raw/{label}")
    assert re.search(r"two classes or more.*only one class, 0", refused(folder, "ingest"))


def test_too_few_images_of_a_class(folder):
    write_digits(folder, 0, 5)
    run(folder, "python -m pipelines ingest")
    printed = run(folder, "python -m pipelines validate", expect=1)
    assert re.search(r"error: .*images_per_class.*", printed)
    assert "Traceback" not in printed
    assert (folder / "data/validate/report.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prepare": {"size": 4}}, r"params.yaml: prepare.size should be .* Received: 4"),
        ({"model": {"backbone": "resnet51"}}, r"model.backbone: .* nearest names are .*resnet51"),
        (
            {"model": {"backbone": "xception", "width": 1.0}},
            r"xception needs images with a side of at least 71 pixels.*Received: 16",
        ),
        ({"model": {"weights": "data/weights/gone.keras"}}, r"gone.keras"),
        (
            {"model": {"weights": "models:/digits@champion"}},
            r"model.weights: an alias can point.*Received: 'models:/digits@champion'",
        ),
        (
            {"model": {"weights": f"models:/digits/1#sha256={'0' * 64}"}},
            r"digits .* has no version yet.*Received: 1",
        ),
        ({"search": {"space": {"train.rate": 1}}}, r"search.space.train.rate"),
    ],
)
def test_params_that_cannot_work(changes, message, folder, empty_store):
    shutil.copy(empty_store, folder / "mlflow.db")
    write_digits(folder, 0, 12)
    edit_params(folder, changes)
    assert re.search(message, refused(folder, "ingest"))


@pytest.mark.slow
def test_imagenet_weights_that_are_not_there(folder):
    write_digits(folder, 0, 12)
    edit_params(folder, {"model": {"backbone": "mobilenet", "weights": "imagenet", "width": 0.25},
                         "prepare": {"size": 32}})  # fmt: skip
    closed = {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(folder / "keras")}
    error = refused(folder, "ingest", **closed)
    assert str(folder / "keras/models/mobilenet_2_5_224_tf_no_top.h5") in error


@pytest.mark.parametrize("listening", [True, False])
def test_an_mlflow_that_does_not_answer(listening, folder):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listening:
            server.listen()  # takes the connection and never says a word
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        start = time.monotonic()
        printed = run(folder, "python -m pipelines train", expect=1, MLFLOW_TRACKING_URI=address)
        assert time.monotonic() - start < 15
    assert address in printed
    assert "Traceback" not in printed


def test_an_unknown_stage_names_the_nine(folder):
    assert "invalid choice: 'teach' (choose from ingest, validate" in run(
        folder, "python -m pipelines teach", expect=2
    ).replace("'ingest', 'validate'", "ingest, validate")


def test_a_folder_without_git_works_and_says_so(folder):
    write_digits(folder, 0, 12)
    run(folder, "python -m pipelines ingest")
    assert (folder / "data/ingest/manifest.parquet").exists()
    none = "none (not a git repository)"
    assert lineage(folder)["git.commit"] == none
    findings = run(folder, "fovea doctor", expect=1).splitlines()  # nor is there a .dvc folder
    assert [line for line in findings if "git" in line.split() and none in line], findings


@pytest.mark.slow
def test_an_unpacked_archive_without_git_goes_the_whole_way(folder):
    for name in (
        "dvc.yaml",
        ".dvc/config",
        "data/.gitignore",
        "data/weights/.gitkeep",
        "requirements.lock",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    run(folder, "fovea sample digits")
    assert "Running stage 'split'" in run(folder, "dvc repro split")
