"""The value of `fovea export --to` → the functions of its format, and the packages they need."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from components.errors import UserError, one_line
from components.export.exported import Exported, Images
from components.export.litert_format import read_litert, write_litert, write_litert_int8
from components.export.onnx_format import read_onnx, write_onnx
from components.export.saved_model_format import read_saved_model, write_saved_model
from components.model.backend import VARIABLE, backend
from components.model.classifier import Classifier


@dataclass(frozen=True)
class Target:
    """A format of exported models.

    name: the value of `--to`. file: the usual name of the exported file or folder. packages: import
    name → name in the package index, of what `fovea[export]` installs for it. calibrated: whether
    `write` takes calibration images after classifier and path.
    """

    name: str
    file: str
    packages: dict[str, str]
    calibrated: bool
    write: Callable[..., None]
    read: Callable[[Path], Exported]

    def convert(self, classifier: Classifier, path: Path, calibration: Images | None) -> Exported:
        """Write the classifier to `path`, and open what was written.

        calibration: uint8 [N, size, size, 3] if the target is calibrated, else None.
        Raises UserError if the format has no operator for a part of the network, or if the
        converter or the runtime fails.
        """
        images = (calibration,) if self.calibrated else ()
        try:
            self.write(classifier, path, *images)
            return self.read(path)
        except (UserError, OSError, MemoryError):
            raise
        except Exception as error:  # converters and runtimes raise many kinds
            raise UserError(
                f"--to {self.name}: the converter cannot take this model; choose another --to. "
                f"Received: {one_line(error)}"
            ) from error


LITERT = {"ai_edge_litert": "ai-edge-litert"}
TARGETS = {
    target.name: target
    for target in (
        Target("saved_model", "saved_model", {}, False, write_saved_model, read_saved_model),
        Target(
            "onnx",
            "model.onnx",
            {name: name for name in ("tf2onnx", "onnx", "onnxruntime")},
            False,
            write_onnx,
            read_onnx,
        ),
        Target("litert", "model.tflite", LITERT, False, write_litert, read_litert),
        Target("litert-int8", "model.int8.tflite", LITERT, True, write_litert_int8, read_litert),
    )
}


def find_target(name: str) -> Target:
    """Return a target that this environment can export to.

    Raises UserError if the packages of the target are not installed, or if the backend of Keras is
    not TensorFlow, which all converters need.
    """
    target = TARGETS[name]
    missing = [each for module, each in target.packages.items() if find_spec(module) is None]
    if missing:
        raise UserError(
            f"--to {name} needs packages that are not installed; run `pip install "
            f"'fovea[export]'`. Received: no {', '.join(missing)}"
        )
    if (name := backend()) != "tensorflow":
        raise UserError(
            f"`fovea export` converts with TensorFlow; unset {VARIABLE}. Received: {name}"
        )
    return target
