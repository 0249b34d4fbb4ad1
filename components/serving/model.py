"""The address of a model → a Model, which predicts the classes of images from their bytes.

Everything that a prediction needs is in the model file: the network, the names of the classes, the
size of the images, how they are resized, and the rules by which their bytes become pixels. So the
pixels are those of the stage `prepare`, also outside of the workspace. Files, bytes and arrays take
the same way:

    bytes → the one decoder → resize → batches of fixed sizes → network → Prediction

An image that the decoder refuses gets a Prediction, too: it has the code of the fault.
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.evaluation.finite import check_finite
from components.images.decoder import Pixels, decode, resize
from components.images.fault import Fault
from components.model.classifier import Classifier
from components.model.model_file import read_classifier
from components.parallel import in_threads
from components.params.ingest import Decode
from components.params.prepare import Prepare
from components.registry.addresses import find_model
from components.registry.versions import Version
from components.serving.rules import decode_rules
from components.sources.tree import read_plain

# The number of images in a batch. Unless `Model.any_size`, a network is compiled once for each
# number, so a shorter batch is filled with zeros up to the next number.
BATCHES = (1, 8, 32)
# The pixels of one batch. Between input and output, a network needs up to 100 times their bytes.
BATCH_PIXELS = 32 * 224**2

Source = Path | str | bytes | bytearray | memoryview | NDArray[Any]
# A function that returns the bytes of an image file, or raises Fault; it is called in a thread.
Reader = Callable[[], bytes]


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image.

    label, probability: the most probable class and its probability; None if the image is refused.
    top: the K most probable classes with their probabilities, the most probable first.
    probabilities: the probability of each class, in the order of the classes; empty if refused.
    fault: the code of the reason if the image is refused, such as `truncated`; else None.
    reason: the same for people, in one sentence; empty if the image is not refused.
    """

    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    probabilities: Mapping[str, float] = field(default_factory=dict)
    fault: str | None = None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier that is ready to predict. Several threads may use it at the same time.

    classifier: the classifier. rules: how bytes become pixels. version: the version in MLflow, or
    None for a plain file. compute: a function from pixels uint8 [N, size, size, 3] to probabilities
    [N, num_classes]. any_size: whether any N is as good as another one; if not, `compute` is
    compiled for each N, so only the sizes of `batches` are computed.
    """

    classifier: Classifier
    rules: Decode
    version: Version | None
    compute: Callable[[NDArray[np.uint8]], Any] = field(repr=False)
    any_size: bool = False

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes, in the order of the columns of the probabilities."""
        return self.classifier.class_names

    @property
    def batches(self) -> tuple[int, ...]:
        """Return the sizes of batches that fit into the memory: those of BATCHES, or only 1.

        Large images make small batches.
        """
        fitting = BATCH_PIXELS // self.classifier.size**2
        return tuple(size for size in BATCHES if size <= fitting) or (1,)

    def predict(self, images: Iterable[Source], top: int = 1) -> list[Prediction]:
        """Return a Prediction for each image, in their order.

        images: paths of image files, bytes of image files, or pixels: uint8 or uint16 [H, W],
        [H, W, 3] or [H, W, 4]; all three may be mixed. top: how many classes `Prediction.top` has.
        Raises UserError if `top` is not between 1 and the number of classes, or if the network
        gives probabilities that are no numbers.
        """
        if isinstance(images, str | bytes | bytearray | memoryview | Path | np.ndarray):
            raise UserError(
                "predict needs a list of images; write predict([image]). "
                f"Received: {type(images).__name__}"
            )
        return list(self.stream(images, top))

    def stream(
        self, images: Iterable[Source | Reader | Fault], top: int = 1
    ) -> Iterator[Prediction]:
        """Yield what `predict` returns. Few images are in memory at once, so there may be millions.

        images: as for `predict`. In the place of an image there may be a function that returns its
        bytes or raises Fault, or a Fault.
        """
        if not 1 <= top <= len(self.class_names):
            raise UserError(
                f"top must be 1 to {len(self.class_names)}, which is the number of classes. "
                f"Received: {top}"
            )
        largest = self.batches[-1]
        pixels = self._pixels(images)
        while batch := list(islice(pixels, largest)):
            yield from self._predict_batch(batch, top)

    def pixels(self, image: Source) -> Pixels:
        """Return the pixels that the network gets for an image: uint8 [size, size, 3].

        Raises Fault if the image cannot be read or is refused.
        """
        content = read_source(image, self.rules.max_bytes)
        # The type of `classifier.resize` is str; that of its copy here is what `resize` takes.
        images = {"size": self.classifier.size, "resize": self.classifier.resize}
        prepare = Prepare.model_validate(images)
        return resize(decode(content, self.rules).pixels, prepare.size, prepare.resize)

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities of pixels: uint8 [N, size, size, 3] → float32 [N, num_classes].

        Raises UserError if the network gives probabilities that are no numbers.
        """
        largest = self.batches[-1]
        parts = [
            self._padded(images[start : start + largest])
            for start in range(0, len(images), largest)
        ]
        result = np.concatenate([np.empty((0, len(self.class_names)), np.float32), *parts])
        check_finite(result)
        return result

    def with_limits(self, rules: Decode) -> "Model":
        """Return the model with the limits of `rules` for bytes and pixels of an image file."""
        return replace(self, rules=rules.with_pixel_rules(self.rules.pixel_rules()))

    def warm_up(self) -> None:
        """Compile the network for every size of a batch, so that no later call has to wait."""
        side = self.classifier.size
        for size in self.batches:
            self.compute(np.zeros((size, side, side, 3), np.uint8))

    def _pixels(self, images: Iterable[Source | Reader | Fault]) -> Iterator[Pixels | Fault]:
        ahead = iter(images)
        first = list(islice(ahead, 2))
        if len(first) < 2:  # One image is decoded sooner than threads start.
            yield from map(self._pixels_or_fault, first)
            return

        def both() -> Iterator[Source | Reader | Fault]:
            yield from first
            yield from ahead

        yield from in_threads(self._pixels_or_fault, both())

    def _pixels_or_fault(self, image: Source | Reader | Fault) -> Pixels | Fault:
        try:
            if isinstance(image, Fault):
                return image
            return self.pixels(image() if callable(image) else image)
        except Fault as fault:
            return fault

    def _predict_batch(self, batch: Sequence[Pixels | Fault], top: int) -> Iterator[Prediction]:
        decoded = [pixels for pixels in batch if not isinstance(pixels, Fault)]
        rows = iter(self.probabilities(np.stack(decoded))) if decoded else iter(())
        for pixels in batch:
            if isinstance(pixels, Fault):
                yield Prediction(fault=pixels.code, reason=pixels.text)
            else:
                yield self.prediction(next(rows), top)

    def prediction(self, row: NDArray[np.float32], top: int) -> Prediction:
        """Return the Prediction of an image. row: its probabilities, float32 [num_classes]."""
        names, values = self.class_names, row.tolist()
        # Of equal probabilities, the first class counts, as in the stage `evaluate` (argmax).
        order = np.argsort(-row, kind="stable")[:top].tolist()
        best = tuple((names[index], values[index]) for index in order)
        return Prediction(*best[0], best, dict(zip(names, values, strict=True)))

    def _padded(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        size = next(size for size in self.batches if size >= len(images))
        if self.any_size:
            size = len(images)
        if missing := size - len(images):
            images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
        result: NDArray[np.float32] = np.asarray(self.compute(images), np.float32)
        return result[: size - missing]


def load(address: str | Path, place: str = "address") -> Model:
    """Load a model: a .keras file, `models:/NAME@ALIAS` or `models:/NAME/NUMBER`.

    The file of a version must have the bytes that it had at its registration. No code in a file is
    run. The registry is the MLflow of MLFLOW_TRACKING_URI; downloaded files are kept below the
    current folder, in .fovea/weights. place: what error messages call the address.

    Raises UserError if there is no such file or version, if its bytes were changed, if Fovea did
    not write it, or if MLflow does not answer.
    """
    found = find_model(str(address), place)
    return build_model(read_classifier(found.path), found.version)


def build_model(classifier: Classifier, version: Version | None = None) -> Model:
    """Return the Model of a classifier. version: its version in MLflow, if it has one."""
    from components.model.devices import gpu_names, local_outputs
    from components.model.frozen_network import compiled_once, frozen_network

    network, rules = classifier.model, decode_rules(classifier, version)
    frozen = frozen_network(network)
    if frozen is not None and not gpu_names():
        compute = compiled_once(frozen, classifier.size)
        return Model(classifier, rules, version, compute, any_size=True)
    return Model(classifier, rules, version, frozen or local_outputs(network))


def read_source(image: Source, max_bytes: int) -> bytes:
    """Return the bytes of an image file. Pixels become a .npy file, so the decoder checks them.

    Raises Fault if the file cannot be read, or if it has more than max_bytes bytes.
    """
    if isinstance(image, str | Path):
        if "\0" in str(image):
            raise Fault("missing", "no file has a name with a NUL character")
        # A link that the caller names is followed, unlike those that are found in a folder.
        file = Path(os.path.realpath(image))
        return read_plain(file.parent, file.name, max_bytes)
    if isinstance(image, np.ndarray):
        if image.dtype.hasobject:
            raise Fault("not_an_image", f"it is an array of {image.dtype}, not of pixels")
        packed = io.BytesIO()
        np.lib.format.write_array(packed, image, allow_pickle=False)
        return packed.getvalue()
    content = bytes(image)
    if len(content) > max_bytes:
        text = f"it has {len(content)} bytes, more than the maximum of {max_bytes}"
        raise Fault("too_many_bytes", text)
    return content
