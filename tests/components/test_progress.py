"""Long loops → a bar for people who watch, lines in a log, nothing if messages are off."""

import logging
import sys
from collections.abc import Iterator

import pytest

from components.progress import track
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
    monkeypatch.setattr(sys, "stderr", terminal)
    show_messages(level=level)
    assert list(track([1, 2], "images", 2)) == [1, 2]
    assert ("images" in terminal.text) == (level == NORMAL)


def test_in_a_log_it_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("components").addHandler(caplog.handler)
    assert list(track([1, 2], "images", 2)) == [1, 2]
    assert "images: 2 of 2 in " in caplog.text
