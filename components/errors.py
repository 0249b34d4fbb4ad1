"""A mistake that the user can fix → one sentence, without a traceback."""


class UserError(Exception):
    """What is wrong, where, and what to do, in one sentence that ends with what was received.

    Commands print it as `error: …` and exit with 1. Every other exception is a fault of this
    program and keeps its traceback.
    """


def one_line(text: object, longest: int | None = 200) -> str:
    r"""Return a text, or what an exception says, on one line of at most `longest` characters.

    >>> one_line(ValueError("bad header\n  in line 3"))
    'bad header in line 3'
    """
    return " ".join(str(text).split())[:longest]
