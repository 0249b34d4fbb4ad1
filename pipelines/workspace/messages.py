"""Log messages of Fovea's code → lines on standard output.

No output stops a stage. A character that the terminal cannot show, such as `→` in a Latin-1
terminal, is written as its escape sequence. If standard output cannot be written, the messages are
lost and the stage goes on.
"""

import io
import logging
import os
import re
import sys
from pathlib import Path
from typing import TextIO

LOGGERS = ("components", "pipelines")
QUIET, NORMAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG

# Control characters, except tab and line feed. A terminal obeys them: with the name of a class in a
# message, a stranger could clear the screen, change its title, or write over other lines.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    r"""Return a text with Python escapes instead of the control characters that terminals obey.

    >>> print(visible("class \x1b[31mred"))
    class \x1b[31mred
    """
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class _StandardOutput(logging.StreamHandler[TextIO]):
    """A handler that looks up `sys.stdout` for each message, because tests and Rich replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stdout

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (a name of logging)
        """Write no more messages if standard output is closed or its disk is full.

        Python flushes `sys.stdout` once more when it exits. If this failed again, the exit status
        would be 120. So `sys.stdout` is replaced.
        """
        if not isinstance(sys.exc_info()[1], OSError) and sys.stdout is not None:
            super().handleError(record)
            return
        drop_output()


def show_messages(stage: str = "", level: int = NORMAL) -> None:
    """Print messages of `level` and above.

    stage: the name of the stage that runs. If the name is not empty, each message begins with it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = _StandardOutput()
    handler.setFormatter(_Visible(f"{stage}: %(message)s" if stage else "%(message)s"))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def drop_output() -> None:
    """Write nothing more to standard output, also when Python exits."""
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (stays open)


def end_output() -> None:
    """Write what standard output still holds. If this fails, write nothing more.

    Without this function, the exit status would be 120 if standard output is a full disk.
    """
    try:
        sys.stdout.flush()
    except OSError:
        drop_output()
