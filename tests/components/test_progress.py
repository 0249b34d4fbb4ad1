"""Long loops → a bar for people who watch, lines in a log, nothing if messages are off."""

import logging
import sys
import time
from collections.abc import Iterator

import pytest

from components.progress import progress_bar, track
from pipelines.workspace.messages import NORMAL, QUIET, show_messages


class Terminal:
    """A terminal on standard error."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restore_levels() -> Iterator[None]:
    yield
    show_messages()


@pytest.mark.parametrize("level", [QUIET, NORMAL])
def test_a_bar_is_drawn_on_a_terminal_unless_quiet(
    level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    show_messages(level=level)
    assert list(track([1, 2], "images", 2)) == [1, 2]
    assert ("images" in terminal.text) == (level == NORMAL)
    with progress_bar(lambda: 0.5, lambda: "epoch 1") as shown:
        assert shown == (level == NORMAL)
    assert ("epoch 1" in terminal.text) == (level == NORMAL)


def test_a_number_that_is_not_known_yet_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    show_messages()
    assert list(track(iter([1, 2]), "images", None)) == [1, 2]
    assert capsys.readouterr().out.startswith("images: 2 in 0.")


@pytest.mark.parametrize("to_file", [True, False])
def test_a_message_appears_above_the_bar_and_stays_in_the_file_of_standard_output(
    to_file: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    show_messages()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        if not to_file:
            patch.setattr(sys, "stdout", terminal)
        with progress_bar(lambda: 0.5, lambda: "epoch 1"):
            logging.getLogger("components").info("a warning in words")
    assert ("a warning in words" in terminal.text) != to_file
    assert ("a warning in words" in capsys.readouterr().out) == to_file


def test_a_terminal_that_cannot_move_its_cursor_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(lambda: 0.5, lambda: "epoch 1") as shown:
        assert not shown


def test_a_bar_is_drawn_at_most_four_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    drawn = []
    with progress_bar(lambda: 0.5, lambda: drawn.append(1) or "epoch 1"):  # type: ignore[func-returns-value]
        first = len(drawn)
        time.sleep(1.1)
        assert 3 <= len(drawn) - first <= 5


def test_in_a_log_it_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("components").addHandler(caplog.handler)
    assert list(track([1, 2], "images", 2)) == [1, 2]
    assert "images: 2 of 2 in " in caplog.text
