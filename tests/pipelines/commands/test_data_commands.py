"""`fovea data …` from the command line: help that teaches, one sentence for a mistake, status 1."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipelines.artifacts import RAW
from tests.pipelines.versioned import IMAGES, commit, flip, ingest, make_repository, write

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fovea(tmp_path: Path, typed: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command of `fovea data` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return partial(typed, "data")


@pytest.mark.parametrize("command", [[], ["add"], ["diff"], ["verify"]])
def test_every_command_has_an_example_in_its_help(fovea: Command, command: list[str]) -> None:
    status, out, _ = fovea(*command, "--help")
    assert status == 0
    assert f"Example: {' '.join(['fovea', 'data', *command])}" in out


def test_importing_the_commands_loads_no_heavy_vendor() -> None:
    code = "import sys, pipelines.commands.fovea; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("command", [["add", "nowhere"], ["diff"], ["verify"]])
def test_outside_of_a_root_each_is_one_sentence(fovea: Command, command: list[str]) -> None:
    status, out, err = fovea(*command)
    assert (status, out) == (1, "")
    assert err.startswith("error: run from the repository's root")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_add_diff_and_verify_tell_one_story(
    fovea: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "repository")
    assert fovea("add", str(write(tmp_path / "new", IMAGES)))[0] == 0
    ingest()
    commit("first")
    more = write(tmp_path / "more", {"9.png": b"nine", "1.png": b"other"})
    status, _, err = fovea("add", str(more), "--into", "cat")
    assert status == 1
    assert "--replace. Received: cat/1.png" in err
    assert fovea("add", str(more), "--into", "cat", "--replace")[0] == 0
    ingest()
    status, out, _ = fovea("diff")
    assert status == 0
    assert "added: 1\n  cat/9.png\nchanged: 1\n  cat/1.png\n" in out
    assert fovea("verify")[0] == 0
    flip(RAW / "dog/2.png")
    status, out, _ = fovea("verify")
    assert status == 1
    assert "data/raw/dog/2.png" in out
    assert fovea("verify", "--heal")[0] == 0
    assert fovea("verify")[0] == 0
