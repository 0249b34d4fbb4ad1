"""No terminal, pipe or disk that takes no output stops a stage; a command says that it is full."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands.console import show_facts, show_lines, show_table
from pipelines.workspace.messages import show_messages

ROOT = Path(__file__).parents[3]
SAY = r"""
import logging
from pipelines.workspace.messages import show_messages
show_messages("balance")
log = logging.getLogger("pipelines.balance")
log.info("images 13 \u2192 13, gr\xf6\xdfe, \u732b, \udcff")
log.info("the end")
"""
NARROW = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def say(redirection: str = "", **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -c "$SAY" {redirection}'],
        env={**os.environ, "SAY": SAY, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
    )


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (NARROW, rb"images 13 \u2192 13, gr\xf6\xdfe, \u732b, \udcff"),
        ({"PYTHONIOENCODING": "latin-1"}, b"images 13 \\u2192 13, gr\xf6\xdfe, \\u732b, \\udcff"),
        ({"PYTHONUTF8": "1"}, "images 13 → 13, größe, 猫, \\udcff".encode()),
    ],
)
def test_what_a_terminal_cannot_show_is_escaped(variables: dict[str, str], line: bytes) -> None:
    done = say(**variables)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines() == [b"balance: " + line, b"balance: the end"]


def test_what_a_terminal_would_obey_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    name = "red\x1b[31m\x1b]0;title\x07 \r\x9b2J\x7f"
    shown = r"red\x1b[31m\x1b]0;title\x07 \r\x9b2J\x7f"
    show_messages("train")
    logging.getLogger("pipelines.train").info(f"class {name}\nnext\tline")
    show_lines(name)
    show_table("classes", ("name",), [(name,)])
    show_facts("a version", {name: name})
    printed = capsys.readouterr().out
    assert f"train: class {shown}\nnext\tline\n" in printed
    assert printed.count(shown) == 5
    assert not any(character in printed for character in "\x1b\x07\r\x9b\x7f")


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-", "| true"])
def test_an_output_that_cannot_be_written_does_not_stop_a_stage(redirection: str) -> None:
    done = say(redirection)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("redirection", "error"),
    [
        ("", ""),
        ("| cat", ""),
        ("| true", ""),
        (">&-", ""),
        ("> /dev/full", "the disk is full"),
    ],
)
def test_a_command_ends_without_a_traceback_whatever_takes_its_output(
    redirection: str, error: str, tmp_path: Path
) -> None:
    """The doctor prints an arrow, which the terminal has not, and fails outside of a repository."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -m pipelines.commands.fovea doctor {redirection}'],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **NARROW},
        capture_output=True,
        text=True,
    )
    assert done.stderr.startswith(f"error: {error}" if error else "")
    assert (done.stderr.count("\n"), "Traceback" in done.stderr) == (bool(error), False)
    assert (r"\u2192 run from" in done.stdout) == (redirection in ("", "| cat"))
