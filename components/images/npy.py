"""Bytes of a .npy file with one picture → its pixels and facts; pickles are never loaded."""

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.images.fault import Facts, Fault
from components.images.headers import Header

# At most this number of bytes is read at the start of the file to get the header. NumPy accepts a
# header of at most 10,000 bytes. The header of a picture usually has 118 bytes.
HEADER_BYTES = 16_384
BIT_DEPTHS = {"bool": 1, "uint8": 8, "uint16": 16}
MODES = {(): "L", (1,): "L", (3,): "RGB", (4,): "RGBA"}
EXPECTED = "bool, uint8 or uint16 [height, width] or [height, width, 1, 3 or 4]"


def read_npy(data: bytes) -> Header:
    """Read a .npy file with one picture.

    The number of bytes that the header announces is compared with the number of bytes in the file
    before an array is made. If these numbers differ, or if the header cannot be read, raises Fault
    with the code `truncated` or `damaged`. Raises Fault with the code `not_an_image` if the dtype
    or the shape is not in EXPECTED.
    """
    shape, fortran, dtype, start = _read_header(data)
    if dtype.name not in BIT_DEPTHS or len(shape) < 2 or shape[2:] not in MODES:
        text = f"it is an array of {dtype} {list(shape)}, but a picture must be {EXPECTED}"
        raise Fault("not_an_image", text)
    stored, needed = len(data) - start, math.prod(shape) * dtype.itemsize
    if stored != needed:
        code = "truncated" if stored < needed else "damaged"
        raise Fault(code, f"it has {stored:,} bytes of values, but its header says {needed:,}")
    values = np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    mode = MODES[shape[2:]]
    facts = Facts(
        format="npy",
        width=shape[1],
        height=shape[0],
        mode={("L", "bool"): "1", ("L", "uint16"): "I;16"}.get((mode, dtype.name), mode),
        bit_depth=BIT_DEPTHS[dtype.name],
        frames=1,
        orientation=1,
    )
    return Header(facts=facts, values=_as_stored(values))


def _read_header(data: bytes) -> tuple[tuple[int, ...], bool, "np.dtype[Any]", int]:
    """Return the shape, whether the values are in Fortran order, the dtype, and an offset.

    The offset is the position of the first value in the file, in bytes. Raises Fault with the code
    `truncated` or `damaged` if the header cannot be read.
    """
    file = io.BytesIO(data[:HEADER_BYTES])
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        read = readers[np.lib.format.read_magic(file)]
        shape, fortran, dtype = read(file)
    except Exception:  # NumPy raises many types of exceptions for a bad header
        cut = len(data) < 12 or len(data) < 10 + int.from_bytes(data[8:10], "little")
        text = "its header is not a valid header of a .npy file"
        raise Fault("truncated" if cut else "damaged", text) from None
    return shape, fortran, dtype, file.tell()


def _as_stored(values: NDArray[Any]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Convert the values to uint8 or uint16, [H, W], [H, W, 3] or [H, W, 4].

    True becomes 255, and False becomes 0. Other values are not changed.
    """
    if values.dtype == np.bool_:
        values = values * np.uint8(255)
    values = values[..., 0] if values.shape[2:] == (1,) else values
    if values.dtype.itemsize == 2:
        return np.ascontiguousarray(values, np.uint16)
    return np.ascontiguousarray(values, np.uint8)
