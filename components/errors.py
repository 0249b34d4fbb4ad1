"""A mistake the user can mend → one sentence, without a traceback."""


class UserError(Exception):
    """What was found, where, and what to do, in one sentence that ends with what was received.

    Commands print it as `error: …` and exit with 1; every other exception is our own mistake and
    keeps its traceback.
    """
