"""Bytes of an image file → the columns of its manifest row: hashes, facts, fingerprint or fault."""

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

# A row depends only on the bytes of its file, on the params `ingest.decode`, and on these modules
# and packages.
MODULES = (
    "images/decoder",
    "images/facts",
    "images/fingerprints",
    "images/fault",
    "images/signatures",
    "images/headers",
    "images/jpeg",
    "images/npy",
    "images/refusals",
    "manifest/rows",
    "sources/array_files",
    "sources/arrays",
)
PACKAGES = ("numpy", "opencv-python-headless", "pillow", "simplejpeg")
FACTS = tuple(field.name for field in fields(Facts))

# Column → its type. The type Int64 is used for integers that can be null. For example, a broken
# file has no width. images/facts.py explains the columns from brightness to border_share.
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
    """Return column → value for the bytes of an image file; columns without a value are left out.

    For an image that cannot be decoded, the column `fault` has the code of the fault. The result
    then has only bytes, image_id, fault and the facts that could be read.
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
    """Return column → value for the columns FACTS, from the facts that the decoder reports."""
    return {name: getattr(facts, name) for name in FACTS}


def pixels_id(pixels: Pixels) -> str:
    """Return the sha256 (hex) of the shape and the values of decoded pixels, uint8 [H, W, 3]."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def recipe(params: Decode) -> str:
    """Return the sha256 (hex) of everything that a row depends on, except the bytes of its file.

    The same bytes and the same recipe give the same row.
    """
    rooms = Path(__file__).parents[1]
    made_of = {
        "decode": params.model_dump(),
        "modules": {name: (rooms / f"{name}.py").read_text("utf-8") for name in MODULES},
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
