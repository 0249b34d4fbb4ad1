"""Manifests and links made up row by row, and params with rules changed."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from components.duplicates.links import LINK_COLUMNS
from components.manifest.table import as_manifest
from components.params.reader import Params
from components.params.validate import Validate
from components.validation.findings import Finding
from components.validation.validation import Validation, validate

NO_LINKS = pd.DataFrame(columns=list(LINK_COLUMNS)).astype(LINK_COLUMNS)
# What a photograph in good light measures.
GOOD = {
    "brightness": 0.6,
    "brightness_p1": 0.1,
    "brightness_p99": 0.9,
    "contrast": 0.2,
    "saturation": 0.3,
    "entropy": 7.0,
    "sharpness": 0.8,
    "aspect": 1.5,
    "border_share": 0.0,
}


def rules(params: Params, **changes: dict[str, Any]) -> Validate:
    """The card's expectations with some values changed."""
    tree = params.section("validate").model_dump()
    for name, values in changes.items():
        tree[name] |= values
    return Validate.model_validate(tree)


def image(number: int, label: str = "cat", **facts: Any) -> dict[str, Any]:
    """The row of a sound image, or one with other `facts`."""
    sound = {
        "path": f"{label}/{number:03d}.png",
        "label": label,
        "image_id": f"{number:064x}",
        "pixels_id": f"{number:064x}",
        "bytes": 100,
        "format": "png",
        "width": 30,
        "height": 20,
        "mode": "RGB",
    }
    return sound | GOOD | facts


def faulty(number: int, fault: str) -> dict[str, Any]:
    """The row of a file that is no image."""
    unknown = dict.fromkeys(["pixels_id", "width", "height", "format", "mode", *GOOD])
    return image(number, fault=fault, **unknown)


def near(*pairs: tuple[str, str], cluster: int = 0) -> pd.DataFrame:
    """Links between near copies, all of one cluster."""
    return pd.DataFrame(
        [
            {
                "path": path,
                "other": other,
                "kind": "near",
                "similarity": 0.95,
                "degrees": 0.0,
                "mirrored": False,
                "cluster": cluster,
            }
            for path, other in pairs
        ]
    ).astype(LINK_COLUMNS)


def checked(
    rows: Iterable[dict[str, Any]] | pd.DataFrame,
    params: Validate,
    links: pd.DataFrame = NO_LINKS,
) -> Validation:
    """Validate rows."""
    manifest = rows if isinstance(rows, pd.DataFrame) else as_manifest(list(rows))
    return validate(manifest, links, params)


def finding(validation: Validation, name: str) -> Finding:
    """What the expectation of this name found."""
    return next(found for found in validation.report.findings if found.name == name)
