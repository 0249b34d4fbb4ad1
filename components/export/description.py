"""An exported model and what was measured of it → the JSON that lies beside it.

Whoever uses the export elsewhere finds there what no format can hold: how an image file becomes
the pixels that the model takes, and the names of the classes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.evaluation.interval import Interval
from components.export.comparison import Comparison
from components.export.exported import Exported
from components.files import sha256
from components.model.classifier import Classifier

SCALING = "the pixel values are scaled as the backbone needs it"
# Layers of a classifier → what they do, if the classifier has them.
INSIDE = {
    "views": "the logits of several views of the image are averaged",
    "logit_adjustment": "the logits are adjusted for rare classes",
    "temperature": "the logits are divided by the temperature",
    "probabilities": "softmax makes probabilities of the logits",
}
RESIZING = {
    "squash": "resize it to size × size pixels, whatever its aspect ratio",
    "crop": "cut its central square, and resize this to size × size pixels",
    "pad": "resize it to fit into size × size pixels, in the middle, and fill the rest with black",
}


@dataclass(frozen=True)
class Source:
    """The model that was exported.

    model_id: the sha256 of its .keras file. version: `NAME/NUMBER` in the registry; None if it has
    none there. bytes: the size of the .keras file. latencies_ms: as `comparison.latencies_ms`.
    """

    model_id: str
    version: str | None
    bytes: int
    latencies_ms: Mapping[int, float]


def describe(
    target: str,
    path: Path,
    classifier: Classifier,
    decode: Mapping[str, Any],
    exported: Exported,
    source: Source,
    comparison: Comparison,
    latencies_ms: Mapping[int, float],
) -> dict[str, Any]:
    """Return the description as values for JSON.

    target: the value of `--to`. path: the exported file or folder. decode: the rules by which the
    images for this classifier are decoded, as in `ingest.decode`.
    """
    layers = {layer.name for layer in classifier.model.layers}
    return {
        "format": target,
        "sha256": content_id(path),
        "bytes": size_bytes(path),
        "model_id": source.model_id,
        "version": source.version,
        "class_names": list(classifier.class_names),
        "input": asdict(exported.input),
        "output": asdict(exported.output),
        "preprocessing": {
            "inside": [SCALING, *(text for name, text in INSIDE.items() if name in layers)],
            "outside": [
                "decode the image to RGB, 8 bits a channel, by the rules below `decode`",
                "turn it as its EXIF orientation says",
                RESIZING[classifier.resize],
            ],
            "size": classifier.size,
            "resize": classifier.resize,
            "interpolation": "bilinear with antialiasing, as Pillow's Image.resize does it",
            "decode": dict(decode),
        },
        "check": {
            "test_images": comparison.images,
            "largest_difference": comparison.largest_difference,
            "agreement": asdict(comparison.agreement),
            "accuracy": asdict(comparison.accuracy),
            "latency_ms": _by_batch(latencies_ms),
        },
        "model": {
            "bytes": source.bytes,
            "accuracy": asdict(comparison.model_accuracy),
            "latency_ms": _by_batch(source.latencies_ms),
        },
    }


def content_id(path: Path) -> str:
    """Return the sha256 of a file; of a folder, that of its list, as `sha256sum` prints it.

    The list has a line `<sha256>  <path in the folder>` for each file, sorted by the path.
    """
    if path.is_file():
        return sha256(path)
    lines = [f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in _files(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def size_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in _files(path))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(
        (file for file in path.rglob("*") if file.is_file()),
        key=lambda file: file.relative_to(path).as_posix(),
    )


def _by_batch(latencies_ms: Mapping[int, float]) -> dict[str, float]:
    return {str(batch): round(value, 3) for batch, value in latencies_ms.items()}


def interval_text(interval: Interval | Mapping[str, float]) -> str:
    """Write a share with its interval.

    >>> interval_text({"value": 0.9, "low": 0.8512, "high": 0.95})
    '0.900 (0.851–0.950)'
    """
    tree = asdict(interval) if isinstance(interval, Interval) else interval
    return f"{tree['value']:.3f} ({tree['low']:.3f}–{tree['high']:.3f})"
