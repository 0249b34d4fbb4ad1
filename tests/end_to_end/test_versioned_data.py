"""DVC: images and models go to a remote, come back elsewhere, and older ones come back too."""

import pytest

from tests.end_to_end.conftest import IMAGES_PER_CLASS, run, stages_run, write_digits

pytestmark = pytest.mark.slow


def test_a_clone_pulls_everything_and_has_nothing_to_do(clone, first_generation, tmp_path):
    origin = clone("origin")
    lock = (
        f"cp {first_generation}/dvc.lock . && dvc cache dir --local {first_generation}/.dvc/cache"
    )
    run(origin, f"{lock} && dvc checkout -q")
    run(origin, f"dvc remote add -d backup {tmp_path}/remote && dvc push -q")
    run(origin, "git add -A && git commit -qm 'first model'")

    elsewhere = tmp_path / "elsewhere"
    run(tmp_path, f"git clone -q {origin} {elsewhere}")
    run(elsewhere, "dvc pull -q")
    assert stages_run(run(elsewhere, "dvc repro")) == []
    doctor = run(elsewhere, "fovea doctor")
    assert "fail" not in doctor.lower()


def test_an_older_commit_brings_its_images_and_its_model_back(continued):
    run(continued, "git add -A && git commit -qm 'first model'")
    model = (continued / "data/train/model.keras").read_bytes()

    write_digits(continued, IMAGES_PER_CLASS, IMAGES_PER_CLASS + 2)
    run(continued, "dvc add -q data/raw && dvc repro train")
    run(continued, "git add -A && git commit -qm 'more images'")
    assert (continued / "data/train/model.keras").read_bytes() != model

    run(continued, "git checkout -q HEAD~1 && dvc checkout -q")
    assert (continued / "data/train/model.keras").read_bytes() == model
    assert len(list((continued / "data/raw").rglob("*.png"))) == 10 * IMAGES_PER_CLASS
    assert "up to date" in run(continued, "dvc status")
