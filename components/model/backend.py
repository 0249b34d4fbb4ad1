"""Keras' backend → loaded, without the pages that TensorFlow's C++ parts write at start-up."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def load_keras() -> None:
    """Import Keras and find the devices; what native code says meanwhile is shown on failure only.

    TensorFlow 2.21 writes to file descriptor 2 whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    if "keras" in sys.modules:
        return
    with _native_stderr_held():
        import keras

        keras.distribution.list_devices()


@contextmanager
def _native_stderr_held() -> Iterator[None]:
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
