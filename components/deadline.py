"""A call that may never return, and a number of seconds → its result, or TimeoutError."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def call_within(limit_s: float, call: Callable[[], T]) -> T:
    """Return the result of `call`. Raise TimeoutError if it takes longer than `limit_s` seconds.

    The call runs in a separate thread. So the limit holds for the complete call, including the
    look-up of a host name and all retries. If `call` raises an exception, this function raises the
    same exception.

    >>> call_within(1.0, lambda: "answer")
    'answer'
    """
    values: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            values.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(limit_s)
    if errors:
        raise errors[0]
    if not values:
        raise TimeoutError(f"no answer within {limit_s:.0f} s")
    return values[0]
