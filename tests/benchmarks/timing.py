"""A function → the seconds that it takes."""

import time
from collections.abc import Callable


def median_s(function: Callable[[], object], times: int = 3) -> float:
    """Return the median of so many runs, in seconds."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[times // 2]
