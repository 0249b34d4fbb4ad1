"""A long loop → a progress bar in a terminal; without a terminal, a log line every few seconds."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")
LINE_EVERY_S = 10.0  # the time between two log lines, in seconds


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield `items` unchanged. If INFO messages are logged, show how many items are done.

    description: the text before the numbers. total: the number of items.
    """
    if sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
        from rich.console import Console
        from rich.progress import track as bar

        yield from bar(items, description, total=total, console=Console(stderr=True))
        return
    start = shown = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - shown > LINE_EVERY_S:
            shown = time.monotonic()
            log.info(f"{description}: {done} of {total}")
    seconds = time.monotonic() - start
    log.info(f"{description}: {done} of {total} in {seconds:.1f} s")
