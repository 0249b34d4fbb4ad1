"""Log messages of Fovea's code → lines on standard output."""

import logging
import sys
from typing import TextIO

LOGGERS = ("components", "pipelines")
QUIET, NORMAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG


class _StandardOutput(logging.StreamHandler[TextIO]):
    """A handler that looks up `sys.stdout` for each message, because tests and Rich replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stdout


def show_messages(stage: str = "", level: int = NORMAL) -> None:
    """Print messages of `level` and above.

    stage: the name of the stage that runs. If the name is not empty, each message begins with it.
    """
    handler = _StandardOutput()
    handler.setFormatter(logging.Formatter(f"{stage}: %(message)s" if stage else "%(message)s"))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
