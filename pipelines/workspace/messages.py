"""What the code logs → one line of text on standard output for each message."""

import logging
import sys
from typing import TextIO

LOGGERS = ("components", "pipelines")
QUIET, NORMAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG


class _StandardOutput(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stdout` is when the message comes, and at once: it may be a pipe."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stdout


def show_messages(stage: str = "", level: int = NORMAL) -> None:
    """Print messages of `level` and above. stage: the word that each line begins with, if any."""
    handler = _StandardOutput()
    handler.setFormatter(logging.Formatter(f"{stage}: %(message)s" if stage else "%(message)s"))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
