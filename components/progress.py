"""A long work → a progress bar in a terminal; without a terminal, log lines.

A bar is drawn on standard error, at most REFRESHES_PER_S times a second, by a thread of its own. So
the work never waits for the terminal.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

log = logging.getLogger(__name__)
T = TypeVar("T")
LINE_EVERY_S = 10.0  # the time between two log lines, in seconds
REFRESHES_PER_S = 4
BAR_WIDTH = 40  # characters


def track(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    """Yield `items` unchanged. If INFO messages are logged, show how many items are done.

    description: the text before the numbers. total: the number of items; None if it is unknown.
    """
    if console := _terminal():
        from rich.progress import track as bar

        yield from bar(items, description, total=total, console=console)
        return
    start = shown = time.monotonic()
    done, of_total = 0, "" if total is None else f" of {total}"
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - shown > LINE_EVERY_S:
            shown = time.monotonic()
            log.info(f"{description}: {done}{of_total}")
    seconds = time.monotonic() - start
    log.info(f"{description}: {done}{of_total} in {seconds:.1f} s")


@contextmanager
def progress_bar(share: Callable[[], float], words: Callable[[], str]) -> Iterator[bool]:
    """Show a bar with a text below it while the block runs. Yield whether it is shown.

    It is shown if standard error is a terminal and INFO messages are logged. Messages that are
    logged in the block appear above the bar. After the block, the bar stays as it was at the end.
    share: a function that returns how much is done, 0 to 1. words: a function that returns the
    text. A thread calls both again and again, so they must be fast.
    """
    if _terminal() is None:
        yield False
        return
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def draw() -> Table:
        lines = Table.grid()
        lines.add_row(ProgressBar(1.0, share(), width=BAR_WIDTH))
        lines.add_row(Text(words()))
        return lines

    with live_view(draw) as shown:
        yield shown


@contextmanager
def live_view(draw: "Callable[[], RenderableType]") -> Iterator[bool]:
    """Show a picture of text while the block runs. Yield whether it is shown.

    draw: a function that returns what Rich can print. For the rest, see `progress_bar`.
    """
    console = _terminal()
    if console is None:
        yield False
        return
    from rich.live import Live

    # If standard output is a file, its messages must stay there.
    with Live(
        get_renderable=draw,
        console=console,
        refresh_per_second=REFRESHES_PER_S,
        redirect_stdout=sys.stdout.isatty(),
    ):
        yield True


def _terminal() -> "Console | None":
    """Return the terminal of standard error; None if there is none, or if messages are off."""
    if not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO)):
        return None
    from rich.console import Console

    console = Console(stderr=True)
    return None if console.is_dumb_terminal else console
