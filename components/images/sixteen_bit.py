"""uint16 pixels → uint8 pixels, by the rule of the param `ingest.decode.sixteen_bit`.

The files of X-ray machines, microscopes and other instruments often use only the lower 10, 12 or 14
of the 16 bits. Example: a picture has values from 0 to 4,095 (12 bits). With `high_byte`, only 16
levels remain, and the picture is nearly black. With the window from 0 to 4,095, the value 4,095
becomes 255, and all 256 levels are used.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from components.images.fault import Fault
from components.params.ingest import SixteenBit, Windowed


def eight_bit(values: NDArray[np.uint16], rule: SixteenBit) -> NDArray[np.uint8]:
    """Reduce the values of one picture to 8 bits. Returns uint8 of the same shape.

    values: the stored values, uint16 [H, W] or [H, W, C]. An alpha channel must not be included.
    rule: the param `ingest.decode.sixteen_bit`.

    `high_byte` keeps the upper 8 bits. `stretch` maps the lowest value of the picture to 0 and its
    highest value to 255. A window maps its `low` to 0 and its `high` to 255; values outside of the
    window become 0 or 255. Values between are scaled linearly and rounded.

    >>> eight_bit(np.array([[100, 2000, 4095]], np.uint16), "stretch")
    array([[  0, 121, 255]], dtype=uint8)
    """
    if isinstance(rule, Windowed):
        low, high = rule.window.low, rule.window.high
    elif rule == "stretch":
        low, high = int(values.min()), int(values.max())
    else:
        return (values >> 8).astype(np.uint8)
    span = max(1, high - low)
    levels = (np.arange(2**16).clip(low, high) - low) * 255 + span // 2
    return (levels // span).astype(np.uint8)[values]


def read_colours(picture: bytes) -> NDArray[np.uint16]:
    """Decode a PNG or TIFF with 16-bit colours. Returns uint16 [H, W, 3] (RGB) or [H, W, 4] (RGBA).

    OpenCV decodes it, because Pillow keeps only the high bytes of colours. The caller has checked
    the size and the completeness of the file. Raises Fault with the code `damaged` if the picture
    cannot be decoded.
    """
    values = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise Fault("damaged", "its 16-bit colours cannot be decoded")
    order = [2, 1, 0, 3][: values.shape[2]]  # OpenCV's order is blue, green, red, alpha
    return np.ascontiguousarray(values[..., order], np.uint16)
