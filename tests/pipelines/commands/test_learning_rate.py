"""`fovea lr` in a workspace with prepared digits."""

import re
from pathlib import Path

import numpy as np
import pytest

from components.errors import UserError
from components.learning_rate.picture import decimal
from components.learning_rate.range_test import RateCurve
from pipelines import artifacts
from pipelines.commands import learning_rate
from pipelines.commands.learning_rate import find_learning_rate
from tests.pipelines.stages import sums


def test_it_ends_in_the_line_to_type_and_changes_no_result(prepared, capsys):
    before = sums(artifacts.PLAN.parents[1])
    find_learning_rate("finetune")
    progress, *lines = capsys.readouterr().out.splitlines()
    assert progress.startswith("batches: ")
    assert lines[0].startswith("phase finetune: ")
    start, _, rate = lines[-1].partition("=")
    assert start == "dvc exp run -S train.finetune.learning_rate"
    assert 1e-5 < float(rate) < 0.1
    picture = artifacts.STATE / "learning_rate/finetune.svg"
    assert f"rate to train with: {rate}" in picture.read_text()
    assert sums(artifacts.PLAN.parents[1]) == before


def test_a_loss_that_falls_at_no_rate_is_told_in_a_sentence(capsys):
    rates = np.geomspace(1e-6, 1, 81)
    losses = 0.9 + np.maximum(0, np.log10(rates / 5e-4)) ** 2
    losses += np.random.default_rng(1).normal(0, 0.12, 81)
    curve = RateCurve("finetune", rates, losses)
    learning_rate._show(curve, 0.0003)
    _, finding, advice = capsys.readouterr().out.splitlines()
    assert re.match(r"no rate lowers the loss \(0\.\d+\) by more than its noise, so ", finding)
    found, known = advice.removesuffix(")").split(" (params.yaml: ")
    assert found == f"compare this rate with yours on val before you keep it: {decimal(curve)}"
    assert known == "0.0003"


def test_without_prepared_images_the_stage_is_named(prepared, tmp_path):
    artifacts.PLAN.unlink()
    with pytest.raises(UserError, match="balance"):
        find_learning_rate("finetune")


def test_transforms_and_the_age_of_the_data_are_checked_before_images_are_read(
    prepared, monkeypatch
):
    monkeypatch.setattr(learning_rate, "read_training_data", lambda: pytest.fail("was read"))
    written = Path("params.yaml").read_text()
    before, keys, after = written.partition("  augmentation:")
    rest = after[after.index("\nsearch:") :]
    Path("params.yaml").write_text(f"{before}{keys} [GausNoise]\n{rest}")
    with pytest.raises(UserError, match=r"train\.augmentation.*GausNoise"):
        find_learning_rate("finetune")
    Path("params.yaml").write_text(written)
    Path("dvc.lock").write_text("stages: {prepare: {params: {params.yaml: {prepare.size: 9}}}}")
    with pytest.raises(UserError, match=r"run `dvc repro balance` first.*prepare\.size: 16, but 9"):
        find_learning_rate("finetune")


def test_a_phase_that_is_not_there_is_refused(prepared):
    with pytest.raises(UserError, match=r"has no phase `head`, because the backbone is not tr"):
        learning_rate.find_learning_rate("head")
