"""Bytes of an image file → the columns of its manifest row: hashes, facts, fingerprint or fault.

The manifest is a table with one row for each image file. The facts are numbers and words about the
image, such as its format and its sharpness. The fingerprint is needed to find images that are
nearly equal. The fault is the reason why a file cannot be used.
"""

import hashlib
import json
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from components.images.decoder import Pixels, decode
from components.images.facts import luma_of, measure
from components.images.fault import Facts, Fault
from components.images.fingerprints import fingerprint
from components.params.ingest import Decode

# The modules and the packages on which a row depends. A row also depends on the bytes of its file
# and on the section `ingest.decode` of params.yaml. A row depends on nothing else.
MODULES = (
    "images/decoder",
    "images/facts",
    "images/fingerprints",
    "images/fault",
    "images/gif",
    "images/signatures",
    "images/headers",
    "images/jpeg",
    "images/npy",
    "images/refusals",
    "images/sixteen_bit",
    "images/tiff",
    "manifest/rows",
    "sources/array_files",
    "sources/arrays",
)
PACKAGES = ("numpy", "opencv-python-headless", "pillow", "simplejpeg")
FACTS = tuple(field.name for field in fields(Facts))  # the columns that the decoder can fill

# The type of each column. Int64 is the type of integers that can be null. For example, the width of
# a broken file is null. images/facts.py explains the columns from brightness to border_share.
COLUMNS = {
    "image_id": "str",
    "pixels_id": "str",
    "bytes": "int64",
    "format": "str",
    "width": "Int64",
    "height": "Int64",
    "mode": "str",
    "bit_depth": "Int64",
    "frames": "Int64",
    "orientation": "Int64",
    "brightness": "float64",
    "brightness_p1": "float64",
    "brightness_p99": "float64",
    "contrast": "float64",
    "saturation": "float64",
    "entropy": "float64",
    "sharpness": "float64",
    "aspect": "float64",
    "border_share": "float64",
    "fingerprint": "large_binary[pyarrow]",
    "fault": "str",
}


def image_row(data: bytes, params: Decode) -> dict[str, Any]:
    """Return column → value for the bytes of an image file.

    data: the bytes of the file. params: the section `ingest.decode` of params.yaml.

    If the image cannot be decoded, the result has only the columns bytes, image_id and fault, and
    the columns FACTS. The column fault has the code of the fault. A fact that could not be read is
    None.
    """
    row: dict[str, Any] = {"bytes": len(data), "image_id": hashlib.sha256(data).hexdigest()}
    try:
        image = decode(data, params)
    except Fault as fault:
        return row | facts_of(fault.facts) | {"fault": fault.code}
    luma = luma_of(image.pixels)
    row["pixels_id"] = pixels_id(image.pixels)
    row["fingerprint"] = fingerprint(luma)
    return row | facts_of(image) | measure(image.pixels, luma)


def facts_of(facts: Facts) -> dict[str, Any]:
    """Return column → value for the columns FACTS. The decoder reports the values in `facts`."""
    return {name: getattr(facts, name) for name in FACTS}


def pixels_id(pixels: Pixels) -> str:
    """Return the sha256 (hex) of the shape and the values of decoded pixels, uint8 [H, W, 3]."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def recipe(params: Decode) -> str:
    """Return the recipe: a sha256 (hex) of all that a row depends on, except the bytes of its file.

    If neither the recipe nor the bytes of the file have changed, the row is the same.
    """
    rooms = Path(__file__).parents[1]
    made_of = {
        "decode": params.model_dump(),
        "modules": {name: (rooms / f"{name}.py").read_text("utf-8") for name in MODULES},
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
