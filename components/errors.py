"""A mistake that the user can fix → one sentence, without a traceback."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

RIGHTS = "you may not use this file or folder; correct its owner and rights, or run as its owner"
# The error numbers of a disk or of rights, which are no bug of this program → what to do.
BLOCKED = {
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
    errno.EROFS: "the disk is read-only; mount it with the right to write, or use another folder",
    errno.ENOSPC: "the disk is full; free some space, or set TMPDIR to a folder on another disk, "
    "and run the same command again",
    errno.ENAMETOOLONG: "the name of a file is too long for this disk; use a shorter one",
    errno.EDQUOT: "your space on this disk is used up; delete files, and run the command again",
}


class UserError(Exception):
    """An error whose message says what is wrong, where, what to do, and what was received.

    Commands print the message as `error: …` and exit with 1. Every other exception is a bug in this
    program and is shown with its traceback.
    """


class HyperparameterError(UserError):
    """A UserError that can be avoided by other values of the hyperparameters `names`.

    If a search tries values of one of them, only the trial fails. Otherwise no trial can succeed.
    """

    def __init__(self, message: str, *names: str) -> None:
        super().__init__(message)
        self.names = names


@contextmanager
def disk_errors() -> Iterator[None]:
    """Convert an OSError in the `with` block to UserError, if its number is in BLOCKED.

    Every other OSError is raised unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in BLOCKED:
            raise
        file = error.filename2 or error.filename
        received = f"{error.strerror}: {file}" if file else f"{error.strerror}"
        raise UserError(f"{BLOCKED[error.errno]}. Received: {received}") from None


def one_line(text: object, longest: int | None = 200) -> str:
    r"""Return a text, or the message of an exception, on one line of at most `longest` characters.

    longest: the maximum number of characters. The rest of the text is cut off. If None, there is no
    maximum.

    >>> one_line(ValueError("bad header\n  in line 3"))
    'bad header in line 3'
    """
    return " ".join(str(text).split())[:longest]
