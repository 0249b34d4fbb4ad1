"""Values with intervals → text, the same in the terminal, on pages and in MLflow."""

from components.evaluation.interval import Interval


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
