"""Import Keras, and hide the many lines that TensorFlow prints when it starts."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def load_keras() -> None:
    """Import Keras. Also list the devices, because this starts the backend (TensorFlow).

    Afterwards the same training on a CPU has the same bytes. Without this, TensorFlow sometimes
    adds the same numbers in another order if the machine is busy.

    During its start TensorFlow 2.21 writes to file descriptor 2 (stderr), even if the environment
    variable TF_CPP_MIN_LOG_LEVEL forbids it. So this function redirects file descriptor 2 to a
    temporary file. If an exception is raised, the text in the temporary file is printed. Otherwise
    the text is dropped. The function does nothing if Keras is already imported.
    """
    if "keras" in sys.modules:
        return
    with _hold_native_stderr():
        import keras
        import tensorflow as tf

        keras.distribution.list_devices()
        if not tf.config.list_physical_devices("GPU"):
            tf.config.experimental.enable_op_determinism()


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
