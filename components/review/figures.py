"""Values with intervals, weak slices → text, the same in the terminal, on pages and in MLflow."""

from components.evaluation.interval import Interval
from components.evaluation.slices import LEAST, Slice
from components.review.facts import Judged
from components.words import count_text, number_text

# What a reader must know of the slices that are shown.
NO_WEAK_SLICE = "No slice of the test images is surely weaker than the rest."
ALL_TESTED = (
    f"All slices and pairs of slices with at least {LEAST} images were tested. The p-values are "
    "corrected for their number (Holm, 1979)."
)
LEAST_P = 0.001
LONGEST_SLICE = 120  # characters of the name and the rule of a slice in Markdown


def images_text(judged: Judged) -> str:
    """Return of which images the figures of the whole model are, such as `60 test images`."""
    images, every = judged.figure_images, count_text(judged.verdict.images, "test image")
    if images == judged.verdict.images:
        return every
    return (
        f"{number_text(images)} of {every}, which are those of the classes that both models know; "
        "the floors hold for all"
    )


def interval_text(interval: Interval | None, *, signed: bool = False) -> str:
    """Return a value with its interval as text, such as `0.983 (0.974 – 0.991)`.

    interval: the value and its ends. If the interval has a value but no ends, the text is only the
    value. If the interval is None or has no value, the text is a dash.
    signed: write `+` before the positive numbers of an interval with ends. This is for differences,
    such as `+0.012 (−0.003 – +0.027)`.
    """
    if interval is None or interval.value is None:
        return "–"
    if interval.low is None:
        return f"{interval.value:.3f}"
    value, low, high = (
        f"{number:{'+' if signed else ''}.3f}".replace("-", "−")
        for number in (interval.value, interval.low, interval.high)
    )
    return f"{value} ({low} – {high})"


def slice_text(found: Slice) -> str:
    """Return the name of a slice and its rule, such as `dark (brightness at most 0.21)`."""
    return found.name if found.name == found.rule else f"{found.name} ({found.rule})"


def p_text(p_value: float | None) -> str:
    """Return a p-value with three decimals, such as `0.012`; `<0.001` if it is lower.

    >>> p_text(0.0121), p_text(1e-9)
    ('0.012', '<0.001')
    """
    if p_value is None:
        return "–"
    return f"{p_value:.3f}" if p_value >= LEAST_P else f"<{LEAST_P}"
