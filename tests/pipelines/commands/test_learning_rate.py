"""`fovea lr` in a workspace with prepared digits."""

import pytest

from components.errors import UserError
from pipelines import artifacts
from pipelines.commands import learning_rate
from pipelines.commands.learning_rate import find_learning_rate
from tests.pipelines.stages import sums


def test_it_ends_in_the_line_to_type_and_changes_no_result(prepared, capsys):
    before = sums(artifacts.PLAN.parents[1])
    find_learning_rate("finetune")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("phase finetune: ")
    start, _, rate = lines[-1].partition("=")
    assert start == "dvc exp run -S train.finetune.learning_rate"
    assert 1e-5 < float(rate) < 0.1
    picture = artifacts.STATE / "learning_rate/finetune.svg"
    assert f"rate to train with: {rate}" in picture.read_text()
    assert sums(artifacts.PLAN.parents[1]) == before


def test_without_prepared_images_the_stage_is_named(prepared, tmp_path):
    artifacts.PLAN.unlink()
    with pytest.raises(UserError, match="balance"):
        find_learning_rate("finetune")


def test_a_phase_that_is_not_there_is_refused(prepared):
    with pytest.raises(UserError, match=r"has no phase `head`, because model\.weights is none"):
        learning_rate.find_learning_rate("head")
