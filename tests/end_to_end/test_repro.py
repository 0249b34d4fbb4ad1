"""`dvc repro` at a laptop: the whole way, then only what must run."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.conftest import IMAGES_PER_CLASS, edit_params, run, stages_run, write_digits

STAGES = ["ingest", "validate", "split", "prepare", "balance", "search", "train", "evaluate",
          "register"]  # fmt: skip


def test_every_stage_runs_and_leaves_its_files(first_generation):
    assert stages_run((first_generation / "repro.log").read_text()) == STAGES
    for name in ("evaluate/report.html", "validate/report.json", "search/study.svg"):
        assert (first_generation / "data" / name).stat().st_size > 100
    verdict = json.loads((first_generation / "data/register/verdict.json").read_text())
    assert (verdict["version"], verdict["decision"]) == (1, "promote")
    served = "a server of this version gives the probabilities of the evaluation for 20 test images"
    assert verdict["reasons"][-1] == served


def test_every_row_is_accepted_or_quarantined(first_generation):
    tables = {
        name: pd.read_parquet(first_generation / "data" / f"{name}.parquet")
        for name in ("ingest/manifest", "validate/accepted", "validate/quarantine", "split/splits")
    }
    assert len(tables["ingest/manifest"]) == 300
    assert len(tables["validate/accepted"]) + len(tables["validate/quarantine"]) == 300
    assert len(tables["split/splits"]) == len(tables["validate/accepted"])


def test_nothing_to_do_is_said_by_dvc(first_generation):
    assert "up to date" in run(first_generation, "dvc status")
    assert stages_run(run(first_generation, "dvc repro")) == []


def test_git_sees_nothing_but_the_lock(first_generation):
    changed = run(first_generation, "git status --short").split()
    assert changed == ["??", "dvc.lock", "??", "repro.log"]


def test_the_model_is_registered_as_challenger_with_its_lineage(first_generation):
    explained = run(first_generation, "fovea explain 1")
    commit = run(first_generation, "git rev-parse HEAD").strip()
    assert commit in explained
    assert "challenger" in explained


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        pytest.param(
            "components/evaluation/metrics.py", ["evaluate", "register"], marks=pytest.mark.slow
        ),
        ("components/training_set/balance.py", ["balance", "search"]),
    ],
)
def test_a_changed_line_runs_its_dependants_and_nothing_else(file, stages, continued):
    with (continued / file).open("a") as lines:
        lines.write("# one more line\n")
    assert stages_run(run(continued, "dvc repro")) == stages


@pytest.mark.slow
def test_another_size_gives_other_arrays_also_where_dvc_remembers_runs(continued):
    for size in (17, 16, 18):
        edit_params(continued, {"prepare": {"size": size}})
        run(continued, "dvc repro prepare")
        images = np.load(continued / "data/prepare/train.images.npy", mmap_mode="r")
        assert images.shape[1:] == (size, size, 3)


def test_one_added_image_runs_what_depends_on_it(continued):
    write_digits(continued, IMAGES_PER_CLASS, IMAGES_PER_CLASS + 1)
    run(continued, "dvc commit -q -f data/raw.dvc")
    would_run = run(continued, "dvc status")
    assert {line.rstrip(":") for line in would_run.splitlines() if line[:1].isalpha()} == {
        "ingest",
        "validate",
        "prepare",
        "register",
    }
    assert stages_run(run(continued, "dvc repro split")) == ["ingest", "validate", "split"]
