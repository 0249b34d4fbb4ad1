"""KERAS_BACKEND and a number of threads → Keras, started on this backend with these threads.

The number of threads decides the last bits of what a network computes on a CPU: an operation is cut
into as many parts as there are threads, and the sums of the parts are added. So the number never
depends on the machine: the operating system runs four threads on one core, too, only slower.
"""

import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from components.errors import UserError

VARIABLE = "KERAS_BACKEND"
PREDICTION_BATCH = 64  # images that a network gets at once when it is not trained
BACKENDS = ("tensorflow", "jax")
# The threads of a process that trains nothing. A training has `train.threads` of them.
THREADS = 4
# jaxlib reads the number of threads of a CPU from the first of these variables that is set.
JAX_THREADS = ("PJRT_NPROC", "NPROC")

# With these variables, Keras ends every training early.
LIMITS = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")

_threads = 0  # of this process; 0 until `load_keras` has started Keras


def backend() -> str:
    """Return the name of the backend of Keras: the value of KERAS_BACKEND, or `tensorflow`.

    Raises UserError if Fovea does not support the backend, or if its package is not installed.
    """
    name = os.environ.get(VARIABLE, "").strip() or BACKENDS[0]
    if name not in BACKENDS:
        raise UserError(f"{VARIABLE} must be {' or '.join(BACKENDS)}. Received: {name}")
    if find_spec(name) is None:
        raise UserError(
            f"the package {name} is not installed; run `pip install 'fovea[{name}]'`, or unset "
            f"{VARIABLE}. Received: {VARIABLE}={name}"
        )
    return name


def load_keras(threads: int | None = None) -> None:
    """Import Keras and start its backend with a number of threads.

    threads: the number of threads of one operation, and the number of operations at the same time.
    A backend cannot change it after its start. Without a value, a started backend is left as it is,
    and another is started with THREADS threads.

    On a CPU, equal trainings in processes with equal threads have equal bytes, on every number of
    cores and under any load. For this TensorFlow also gets its setting for deterministic
    operations; without it, the order of a sum sometimes changes if the machine is busy.

    Raises UserError in the same cases as `backend`. Raises RuntimeError if the backend has already
    started with another number of threads.
    """
    global _threads
    if _threads:
        if threads not in (None, _threads):
            raise RuntimeError(f"the backend has {_threads} threads, {threads} are not possible")
        return
    name, threads = backend(), threads or THREADS
    # Otherwise a file in the home folder decides (keras.json).
    os.environ.update({VARIABLE: name, "KERAS_NNX_ENABLED": "false"})
    for limit in LIMITS:
        os.environ.pop(limit, None)
    with hold_native_stderr():
        (_start_jax if name == "jax" else _start_tensorflow)(threads)
    _threads = threads


def threads() -> int:
    """Return with how many threads the backend has started; 0 before its start."""
    return _threads


@contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Set the seed of all random numbers of Keras, NumPy and Python, for the networks built inside.

    Keras draws the seeds of layers from Python's global generator. So could every thread of this
    process: the thread that sends records does, while it waits for an MLflow that does not answer.
    Here Keras has a generator of its own, which gives it the same numbers, so that equal seeds give
    equal weights whatever other threads do. This generator is yielded.

    Keras also sets the seed of TensorFlow if TensorFlow is installed, so it imports TensorFlow here
    even if the backend is JAX. The messages of this start are dropped, too.
    """
    import keras
    from keras.src.random import seed_generator

    with hold_native_stderr():
        keras.utils.set_random_seed(seed)
    everyones = seed_generator.python_random
    seed_generator.python_random = generator = random.Random(seed)
    try:
        yield generator
    finally:
        seed_generator.python_random = everyones


def _start_tensorflow(threads: int) -> None:
    _import_keras()
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.distribution.list_devices()  # This starts TensorFlow.
    if not tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def _start_jax(threads: int) -> None:
    os.environ.update(dict.fromkeys(JAX_THREADS, str(threads)))
    _import_keras()
    import jax

    jax.devices()  # This starts JAX.


def _import_keras() -> None:
    """Import Keras, and set what the file keras.json in the home folder may have changed."""
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


@contextmanager
def hold_native_stderr() -> Iterator[None]:
    """Write what is sent to file descriptor 2 (stderr) into a temporary file.

    During its start and while it converts, TensorFlow 2.21 writes to this descriptor, even if the
    environment variable TF_CPP_MIN_LOG_LEVEL forbids it. If an exception is raised, the text in the
    temporary file is printed. Otherwise the text is dropped.
    """
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
