"""Shares, scores, labels and paths → text for a page."""

import re

from markupsafe import Markup, escape

# If a name has more characters than this, the page shows only its start and its end. A path on
# Linux may have about 4,000 characters.
LONGEST_NAME = 300
# These two invisible characters are not escaped, since Persian, Indic scripts and emoji need them.
JOINERS = "\u200c\u200d"
# A browser does not show spaces at the ends of a text, and shows repeated spaces as one space.
ODD_BLANKS = re.compile(r"^ +| +$| {2,}")
BREAKS = re.compile(r"(?<=[/_.\-])(?=[^/_.\-])")  # the places in a path at which a line may break


def figure(value: float | None) -> str:
    """Write a share or a score with three decimals, and an undefined value (None) as a dash."""
    return "–" if value is None else f"{value:.3f}"


def percent(share: float) -> str:
    """Write a share, 0 to 1, in percent.

    Only a share of exactly 0 is written as 0 %, and only a share of exactly 1 is written as 100 %.
    A share that is nearly 0 or nearly 1 is written as `< 0.1 %` or `> 99.9 %`.
    """
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.{0 if share in (0, 1) else 1}f} %"


def name(text: str) -> Markup:
    r"""Write a label or a path as HTML, so that a reader sees all its characters.

    Characters that HTML uses as markup, such as `<`, are escaped for HTML. Invisible characters,
    and characters that reverse the direction of text, are written as Python escapes, such as \n or
    \u202e. Spaces at the ends and repeated spaces are written as ␣. Python escapes and ␣ are inside
    of `<i class="odd">`. A line may break after a separator such as `/`. If a text has more than
    LONGEST_NAME characters, its middle is replaced by `…`.
    """
    shown = BREAKS.sub("<wbr>", str(escape(_shortened(text))))
    shown = ODD_BLANKS.sub(lambda blanks: _odd("␣" * len(blanks[0])), shown)
    return Markup("".join(map(_seen, shown)))


def sentence(text: str) -> Markup:
    """Write a sentence as HTML; the names in it are written as `name` writes them."""
    return Markup(" ").join(map(name, text.split(" ")))


def _shortened(text: str) -> str:
    half = LONGEST_NAME // 2
    return text if len(text) <= LONGEST_NAME else f"{text[:half]}…{text[-half:]}"


def _seen(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    return _odd(character.encode("unicode_escape").decode())


def _odd(text: str) -> str:
    return f'<i class="odd">{text}</i>'
