from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.commands.register import register_model

STAGES = """
  train: {cmd: echo trained > model, deps: [image], outs: [model]}
  register:
    cmd: echo registered >> log; echo verdict > verdict
    deps: [model]
    outs: [verdict: {persist: true}]
"""


def test_the_stage_runs_although_dvc_finds_nothing_to_run_but_not_with_an_old_model(
    workspace_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = workspace_of(STAGES)
    (workspace / "image").write_text("one")
    with pytest.raises(UserError, match=r"run `dvc repro`.*changed: train"):
        register_model()
    assert not (workspace / "log").exists()


@pytest.mark.slow
def test_a_stage_that_fails_says_why(workspace_of: Callable[[str], Path]) -> None:
    workspace_of("  register: {cmd: 'echo error: no room; exit 1', outs: [verdict]}\n")
    with pytest.raises(UserError, match=r"^no room$"):
        register_model()
