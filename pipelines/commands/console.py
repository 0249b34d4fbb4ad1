"""Text, tables and checks → lines on the terminal or in a pipe.

On a terminal, a table is at most as wide as the terminal. In a pipe, a table is at most 120
characters wide.
"""

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.workspace.messages import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pipelines.commands.doctor import Check

PIPED_WIDTH = 120
STATUS_WIDTH, NAME_WIDTH = 4, 8  # the longest status and the longest name of doctor's checks
COLOURS = {
    "promote": "green",
    "hold": "yellow",
    "reject": "red",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
}


def console() -> "Console":
    """Return a Rich console that prints [brackets] as they are.

    Class names may contain brackets. With markup, Rich would use a text in brackets as the name of
    a style and not print it.
    """
    from rich.console import Console

    shown = Console(markup=False, highlight=False)
    return shown if shown.is_terminal else Console(markup=False, highlight=False, width=PIPED_WIDTH)


def show_lines(*lines: str, style: str = "") -> None:
    """Print lines without extra line breaks, so that the user can copy commands from them."""
    for line in lines:
        console().print(visible(line), style=style or None, soft_wrap=True)


def show_json(tree: Mapping[str, Any]) -> None:
    """Print nested values as JSON, with keys in the given order."""
    print(json.dumps(tree, indent=2, ensure_ascii=False))  # noqa: T201


def show_waiting(text: str) -> None:
    """Print to stderr what the command waits for. A script and --quiet do not get this line."""
    if sys.stderr.isatty() and logging.getLogger("pipelines").isEnabledFor(logging.INFO):
        print(text, file=sys.stderr)  # noqa: T201


def show_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table. A column is aligned to the right if its title starts with `>`."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for name in columns:
        table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left")
    for row in rows:
        table.add_row(*map(visible, row))
    console().print(table)


def show_facts(title: str, facts: Mapping[str, str]) -> None:
    """Print a title, and below it the name and the value of each fact."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(f"  {visible(name)}", visible(value))
    show_lines(title, style="bold")
    console().print(table)


def show_checks(checks: "Iterable[Check]") -> bool:
    """Print each check with its finding and advice as soon as the check has ended.

    Return True if no check has the status fail.
    """
    passed = True
    terminal = console()
    # A terminal shows this text below the checks until the last check has ended. A pipe does not.
    with terminal.status("other checks still wait, for example for DVC or MLflow"):
        for check in checks:
            passed = passed and check.status != "fail"
            terminal.print(_check_row(check))
    return passed


def _check_row(check: "Check") -> "Table":
    """Return the row of a check. Its columns have the same widths in every row."""
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 2))
    row.add_column(min_width=STATUS_WIDTH)
    row.add_column(min_width=NAME_WIDTH)
    row.add_column(overflow="fold")
    advice = f"\n→ {check.advice}" if check.advice and check.status != "ok" else ""
    status = Text(check.status, style=COLOURS[check.status])
    row.add_row(status, check.name, visible(f"{check.finding}{advice}"))
    return row
