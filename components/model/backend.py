"""Import Keras, and hide the many lines that TensorFlow prints when it starts."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def load_keras() -> None:
    """Import Keras, and list the devices so that the backend starts now.

    TensorFlow 2.21 writes to file descriptor 2 (stderr) and ignores the setting
    TF_CPP_MIN_LOG_LEVEL. So this function redirects file descriptor 2 to a temporary file. If an
    exception is raised, the text in this file is printed. Otherwise the text is dropped.
    """
    if "keras" in sys.modules:
        return
    with _hold_native_stderr():
        import keras

        keras.distribution.list_devices()


@contextmanager
def _hold_native_stderr() -> Iterator[None]:
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
