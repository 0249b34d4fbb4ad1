"""Shares, scores, and names from the data → text for a page."""

import re

from markupsafe import Markup, escape

# The page shows only the start and the end of a name with more characters than this. A path may
# have 4,096.
LONGEST_NAME = 300
# Two invisible characters that stay: they are part of the spelling in Persian, in Indic scripts and
# in emoji.
JOINERS = "\u200c\u200d"
# Blanks at the ends, which a browser does not show, and repeated blanks, which it shows as one.
ODD_BLANKS = re.compile(r"^ +| +$| {2,}")
BREAKS = re.compile(r"(?<=[/_.\-])(?=[^/_.\-])")  # places where a line may break in a path


def figure(value: float | None) -> str:
    """Write a share or a score with three decimals. None, an undefined score, is a dash."""
    return "–" if value is None else f"{value:.3f}"


def percent(share: float) -> str:
    """Write a share, 0–1, in percent. Only exactly 0 is written as 0 %, only exactly 1 as 100 %."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.{0 if share in (0, 1) else 1}f} %"


def name(text: str) -> Markup:
    r"""Write a label or a path as HTML, so that all its characters are visible and none is markup.

    Invisible characters, and characters that reverse the direction of text, are written as escapes
    (\n, \u202e). Blanks that a browser would not show are written as ␣. Escapes and ␣ are in
    `<i class="odd">`. A line may break after a separator such as `/`.
    """
    shown = BREAKS.sub("<wbr>", str(escape(_shortened(text))))
    shown = ODD_BLANKS.sub(lambda blanks: _odd("␣" * len(blanks[0])), shown)
    return Markup("".join(map(_seen, shown)))


def _shortened(text: str) -> str:
    half = LONGEST_NAME // 2
    return text if len(text) <= LONGEST_NAME else f"{text[:half]}…{text[-half:]}"


def _seen(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    return _odd(character.encode("unicode_escape").decode())


def _odd(text: str) -> str:
    return f'<i class="odd">{text}</i>'
