"""Shares, scores, and names that come from outside → words of a page."""

import re

from markupsafe import Markup, escape

LONGEST_NAME = 300  # characters; a path may have 4,096, and its two ends tell most
JOINERS = "\u200c\u200d"  # not seen either, but spelling: of Persian, Indic scripts and emoji
ODD_BLANKS = re.compile(r"^ +| +$| {2,}")  # a browser would show one or none
BREAKS = re.compile(r"(?<=[/_.\-])(?=[^/_.\-])")  # where a path may be wrapped


def figure(value: float | None) -> str:
    """Write a share or a score with three digits, and what is undefined as a dash."""
    return "–" if value is None else f"{value:.3f}"


def percent(share: float) -> str:
    """Write a share in percent; never as 0 or 100 % where it is not quite that."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.{0 if share in (0, 1) else 1}f} %"


def name(text: str) -> Markup:
    r"""Write a label or a path so that it is seen as what it is, and does no harm.

    Characters that do not show, or that turn the others around, stand as escapes (\n, \u202e), and
    blanks that do not show as ␣, both within `i.odd`. Lines may break after separators.
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
