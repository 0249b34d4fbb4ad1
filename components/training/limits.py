"""What a training cannot do, and what no device has room for → errors that say what to change."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from components.errors import HyperparameterError, UserError
from components.model.backend import backend
from components.model.feature_store import LIMIT_BYTES
from components.params.train import Train
from components.training.training_state import TrainingState


class TrainingFailedError(UserError):
    """Training failed with these hyperparameters. With other hyperparameters it may succeed."""


def check_several(train: Train, devices: int, machines: int) -> None:
    """Raise HyperparameterError if several devices or machines cannot do what `train` asks for.

    train: the section `train` of params.yaml. devices: the number of all devices. machines: the
    number of machines.
    """
    average = {f"train.average.{name}": value for name, value in train.average}
    asked = average | {"train.clip_norm": train.clip_norm}
    if devices == 1 or (backend() == "jax" and machines == 1):
        asked = {}
    elif backend() == "jax":
        asked = average
    for name, value in asked.items():
        if value:
            # TensorFlow would clip and average on each device by itself.
            raise HyperparameterError(
                f"{name} is not possible on several devices of TensorFlow or on several machines; "
                f"write 0, or train on one machine, with one device or with KERAS_BACKEND=jax. "
                f"Received: {name}: {value}, {devices} devices on {machines} machines",
                name,
            )


def check_updates(train: Train, steps: int) -> None:
    """Raise TrainingFailedError if an update of the weights needs more batches than an epoch has.

    Such an epoch may train nothing: gradients are added up over the end of an epoch, and those that
    are left after the last epoch are lost.
    train: the section `train` of params.yaml. steps: the number of batches in an epoch.
    """
    if train.accumulate > steps:
        raise TrainingFailedError(
            "train.accumulate: an update of the weights needs more batches than an epoch has; "
            f"write at most {steps}, or lower train.batch_size. Received: train.accumulate: "
            f"{train.accumulate}, train.batch_size: {train.batch_size}, "
            f"batches in an epoch: {steps}"
        )


def check_views(train: Train, images: int, width: int) -> None:
    """Raise TrainingFailedError if the features of all views are larger than their store may be.

    They must also fit into the memory of the device. width: the number of features of an image.
    """
    views, most = train.head.views, max(0, LIMIT_BYTES // (images * width * 4) - 1)
    if views > most:
        raise TrainingFailedError(
            f"the features of so many views are larger than {LIMIT_BYTES / 1e9:g} GB, the most "
            f"that their store may have; lower train.head.views to at most {most}. "
            f"Received: train.head.views: {views}, {images} images with {width} features each"
        )


@contextmanager
def report_lack_of_memory(train: Train, state: TrainingState) -> Iterator[None]:
    """Replace an exception that says that the memory is too small by TrainingFailedError.

    The class of the exception of a device depends on the backend of Keras. So it is recognised by
    its text, not by its class.
    """
    try:
        yield
    except Exception as error:
        by_device = re.search("RESOURCE_EXHAUSTED|ResourceExhausted|out of memory", repr(error))
        if not (by_device or isinstance(error, MemoryError)):
            raise
        if train.head.views and state.phase != "finetune":
            raise TrainingFailedError(
                "the features of all views do not fit into the memory; lower train.head.views. "
                f"Received: train.head.views: {train.head.views}"
            ) from None
        raise TrainingFailedError(
            "a batch does not fit into the memory; divide train.batch_size by a "
            "number and multiply train.accumulate by the same number, so that an update of the "
            "weights still sees as many images. "
            f"Received: train.batch_size: {train.batch_size}, train.accumulate: {train.accumulate}"
        ) from None
