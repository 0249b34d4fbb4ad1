"""Import Keras and its backend without the many lines that TensorFlow prints at its start."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def load_keras() -> None:
    """Import Keras and list the devices. Output of native code is shown only if this fails.

    TensorFlow 2.21 writes to file descriptor 2 and ignores TF_CPP_MIN_LOG_LEVEL. So the descriptor
    itself is redirected.
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
