"""A mistake that the user can fix → one sentence, without a traceback."""


class UserError(Exception):
    """An error whose message says what is wrong, where, what to do, and what was received.

    Commands print the message as `error: …` and exit with 1. Every other exception is a bug in this
    program and is shown with its traceback.
    """


def one_line(text: object, longest: int | None = 200) -> str:
    r"""Return a text, or the message of an exception, on one line of at most `longest` characters.

    longest: the maximum number of characters. The rest of the text is cut off. If None, there is no
    maximum.

    >>> one_line(ValueError("bad header\n  in line 3"))
    'bad header in line 3'
    """
    return " ".join(str(text).split())[:longest]
