"""FOVEA_DEVICES and the machines that JAX joined → the devices on which a network is trained."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

from components.errors import HyperparameterError, UserError
from components.model.backend import PREDICTION_BATCH, backend, threads
from components.model.backend import VARIABLE as BACKEND

VARIABLE = "FOVEA_DEVICES"
SILENCE_S = 60  # a machine that JAX does not hear from for so long has ended


@contextmanager
def on_devices(batch_size: int, accumulate: int) -> Iterator[int]:
    """Let a network that is built and trained in the `with` statement use FOVEA_DEVICES devices.

    FOVEA_DEVICES is a number of GPUs of this machine, or `all`; without it, one device is used. (On
    a machine without GPUs, the devices are its CPU, which is one device.) Each device computes
    the gradients of its share of every batch, and the weights stay equal on all devices. Yields the
    number of devices. `load_keras` must have been called before.

    On several machines, every machine uses so many devices, and all of them share a batch.

    batch_size: the number of images of a batch. accumulate: the number of batches for one update of
    the weights. Raises UserError if FOVEA_DEVICES is not such a number, is larger than the number
    of devices, or does not divide the batch; and if several devices of TensorFlow shall accumulate.
    """
    text = os.environ.get(VARIABLE, "").strip() or "1"
    found, machines = _devices(), machine_count()
    count = len(found) if text == "all" else int(text) if text.isdecimal() else 0
    if not 0 < count <= len(found):
        raise UserError(
            f"{VARIABLE} must be `all` or a number from 1 to {len(found)}, because {backend()} has "
            f"the devices {', '.join(found)}. Received: {text}"
        )
    total = count * machines
    sizes = {"train.batch_size": batch_size}
    if machines == 1:  # On several machines, one device computes the outputs for val.
        sizes["a batch of val"] = PREDICTION_BATCH
    for name, size in sizes.items():
        if size % total:
            raise HyperparameterError(
                f"every device needs an equal share of a batch, so the number of devices must "
                f"divide {name}; change {VARIABLE} or train.batch_size. "
                f"Received: {total} devices, {size} images",
                name,
            )
    if total == 1:
        yield total
        return
    if accumulate > 1 and backend() == "tensorflow":
        # Keras updates the weights in a branch of the step, where devices cannot add gradients.
        raise HyperparameterError(
            "TensorFlow cannot accumulate gradients on several devices; write `accumulate: 1` into "
            f"the section `train`, set {BACKEND}=jax, or unset {VARIABLE}. "
            f"Received: train.accumulate: {accumulate}, {count} devices",
            "train.accumulate",
        )
    with _spread_jax(count) if backend() == "jax" else _spread_tensorflow(found[:count]):
        yield total


def _devices() -> list[str]:
    """Return the names of the GPUs that the backend may use; without GPUs, of the CPU.

    On several machines, they are as many as on the machine with the fewest.
    """
    if backend() == "jax":
        return [names[0] for names in zip(*_jax_devices(), strict=False)]
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:") for device in found]


def _spread_jax(count: int) -> Any:
    """Return a scope in which networks lie on the first `count` devices of every machine."""
    import keras

    names = [name for machine in _jax_devices() for name in machine[:count]]
    return keras.distribution.DataParallel(devices=names, auto_shard_dataset=False).scope()


def _jax_devices() -> list[list[str]]:
    """Return the names of the devices of each machine."""
    import jax

    machines = [jax.local_devices(number) for number in range(jax.process_count())]
    return [[f"{device.platform}:{device.id}" for device in devices] for devices in machines]


def _spread_tensorflow(names: list[str]) -> Any:
    import tensorflow as tf

    # The default, collective operations, fails on several devices of one CPU: the devices reach the
    # operations in different orders.
    gpus = tf.config.list_logical_devices("GPU")
    sums = tf.distribute.NcclAllReduce() if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(names, sums).scope()


def join_jax(address: str, count: int, number: int) -> None:
    """Let JAX train on several machines. Call this before `load_keras`, on every machine.

    address: host and port at which JAX on machine 0 listens. count: the number of machines. number:
    the number of this machine, from 0.
    """
    import jax

    # JAX warns of every environment variable such as NO_PROXY, which Fovea itself sets.
    jax.config.update("jax_check_proxy_envs", False)  # type: ignore[no-untyped-call]
    jax.distributed.initialize(
        address,
        count,
        number,
        coordinator_bind_address=address,
        cluster_detection_method="deactivate",
        heartbeat_timeout_seconds=SILENCE_S,
        shutdown_timeout_seconds=SILENCE_S,
    )


def leave_jax() -> None:
    """Wait until all machines leave. After this, a machine may end without ending the others."""
    import jax

    jax.distributed.shutdown()  # type: ignore[no-untyped-call]


def machine_count() -> int:
    """Return on how many machines JAX trains; 1 if it trains on this one alone."""
    if backend() != "jax":
        return 1
    import jax

    return int(jax.process_count())


def local_outputs(model: Any) -> Callable[[Any], Any]:
    """Return a function that maps a batch to the outputs of a keras.Model, on one device of JAX.

    In a training on several machines the weights lie on all of them, so Keras would need all of
    them to compute outputs. Each of them has all weights: this function uses the copies here.
    """
    groups = (model.trainable_variables, model.non_trainable_variables)
    weights, rest = ([variable.value.addressable_data(0) for variable in group] for group in groups)
    return partial(_compile(model), weights, rest)


@lru_cache(maxsize=4)
def _compile(model: Any) -> Any:
    import jax

    return jax.jit(
        lambda weights, rest, batch: model.stateless_call(weights, rest, batch, training=False)[0]
    )


def gpu_names() -> list[str]:
    """Return the names of the GPUs that the backend uses; empty if the backend has not started."""
    if not threads():
        return []
    if backend() == "jax":
        import jax

        return [device.device_kind for device in jax.local_devices() if device.platform == "gpu"]
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = map(tf.config.experimental.get_device_details, gpus)
    return [str(facts.get("device_name", "GPU")) for facts in details]
