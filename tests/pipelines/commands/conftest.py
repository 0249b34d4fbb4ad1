"""Commands that are run in this process, and a copy of the repository of a test file."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.commands.fovea import main
from pipelines.workspace.messages import show_messages


@pytest.fixture
def typed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run what is typed after `fovea` in this process; return exit status, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fovea", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        show_messages()  # what follows in this process is neither quiet nor verbose
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture
def repository(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of the `template` of the test file."""
    shutil.copytree(template, tmp_path / "repository", symlinks=True)
    monkeypatch.chdir(tmp_path / "repository")
    return tmp_path / "repository"
