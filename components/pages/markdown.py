r"""Texts from outside → Markdown that shows them as they are, and tables.

MLflow's page turns Markdown into HTML with Showdown. Showdown also makes links of addresses and of
names after `@`, loads pictures from other servers, and does not know every backslash escape of
other programs. All programs know the numeric character references of HTML, such as `&#60;`. So each
character that could be markup is written as its reference.
"""

import re
from collections.abc import Iterable, Sequence

from components.pages.words import JOINERS

SPACE = "\u00a0"  # which no program removes, and where no line is broken
GAP = SPACE * 2
LONGEST_NAME = 60  # characters of a name; a description in MLflow has room for 5,000 in all
# Characters of ASCII that are no markup where they are. A dot after `www` would begin a link, and a
# colon before a letter an emoji.
PLAIN = re.compile(
    r"[^\W_]|[ ,;(%]|(?<!\d)\)|:(?= )|\+(?=\d)|(?<=\w)[-/=](?=\w)|(?<=\w)(?<!www)\.(?=\w)",
    re.IGNORECASE,
)


def text(written: str, longest: int | None = LONGEST_NAME) -> str:
    r"""Return Markdown that shows a text as it is, on one line.

    Invisible characters, and characters that reverse the direction of text, are shown as Python
    escapes, such as \n. If a text has more than `longest` characters, `…` replaces its middle.

    >>> print(text("a|b <i>"))
    a&#124;b &#60;i&#62;
    """
    if longest is not None and len(written) > longest:
        half = (longest - 1) // 2
        written = f"{written[:half]}…{written[-half:]}"
    return "".join(_shown(written, place) for place in range(len(written)))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table. The cells are Markdown, such as `text` returns.

    >>> print(table(["class", "recall"], [["glass", "0.9"]]))
    | class | recall |
    |---|---|
    | glass | 0.9 |
    """
    head, *body = (f"| {' | '.join(cells)} |" for cells in (columns, *rows))
    return "\n".join([head, "|---" * len(columns) + "|", *body])


def spaced_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table for MLflow's page, whose style has no space between two columns."""

    def spaced(cells: Sequence[str]) -> list[str]:
        return [*(f"{cell}{GAP}" for cell in cells[:-1]), *cells[-1:]]

    return table(spaced(columns), map(spaced, rows))


def _shown(written: str, place: int) -> str:
    character = written[place]
    if not character.isprintable() and character not in JOINERS:
        escape = character.encode("unicode_escape").decode()
        return "".join(_shown(escape, index) for index in range(len(escape)))
    if not character.isascii() or PLAIN.match(written, place):
        return character
    return f"&#{ord(character)};"
