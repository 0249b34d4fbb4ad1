"""Numbers and names → the text that messages and pages show for them.

Messages and pages both use these functions. So a number or a name looks the same everywhere.
"""

import math
from collections.abc import Iterable

UNITS = ("B", "KiB", "MiB", "GiB")
LISTED = 8  # maximum number of names in a message


def number_text(number: int) -> str:
    """Write a number with thousands separators.

    >>> number_text(1234567)
    '1,234,567'
    """
    return f"{number:,}"


def count_text(number: int, singular: str, plural: str = "") -> str:
    """Write a number and the noun that it counts; an empty `plural` means `singular` + "s".

    >>> count_text(1, "image"), count_text(2000, "class", "classes")
    ('1 image', '2,000 classes')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def size_text(number: float) -> str:
    """Write a number of bytes with a unit: the largest of UNITS in which the value is at least 1.

    >>> size_text(512), size_text(1536), size_text(20 * 2**20)
    ('512 B', '1.5 KiB', '20 MiB')
    """
    unit = max(0, min(int(math.log2(max(number, 1))) // 10, len(UNITS) - 1))
    value = number / 1024**unit
    return f"{value:,.0f} {UNITS[unit]}" if value >= 100 else f"{value:.3g} {UNITS[unit]}"


def printable(name: str) -> str:
    r"""Write a name on one line; line breaks and other unprintable characters are escaped.

    >>> print(printable("cat\n1.png"))
    cat\n1.png
    """
    return name if name.isprintable() else repr(name)[1:-1]


def name_list(names: Iterable[str]) -> str:
    """Write the first LISTED names in sorted order on one line, and how many names are left.

    >>> name_list(f"{letter}.png" for letter in "jihgfedcba")
    'a.png, b.png, c.png, d.png, e.png, f.png, g.png, h.png and 2 more'
    """
    every = sorted(map(printable, names))
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return ", ".join(every[:LISTED]) + more
