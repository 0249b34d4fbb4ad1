"""Paths of images → the range of their 16-bit values, and a window that fits the range.

Only some of the images are read, so the result takes about a second, also for a large data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.images.decoder import stored_values
from components.images.fault import Fault
from components.params.ingest import Decode
from components.sources.reading import read_bytes
from components.words import count_text, number_text

READ = 64  # the maximum number of images that are read
# Shares of all pixels: a window leaves out the darkest and the brightest thousandth, because a few
# broken pixels of a sensor often have the value 0 or 65,535.
DARK, BRIGHT = 0.001, 0.999


@dataclass(frozen=True)
class Values:
    """The values of the pixels of some images of 16 bits.

    images: the number of images. top: the highest value. low, high: the window that fits the
    values of these images.
    """

    images: int
    top: int
    low: int
    high: int

    @property
    def window(self) -> str:
        """The value of `ingest.decode.sixteen_bit` that selects the window, as in params.yaml."""
        return f"{{ window: {{ low: {self.low}, high: {self.high} }} }}"

    def unused_bits(self) -> str:
        """Return a sentence if the highest bits of the values are always 0, otherwise "".

        Example: the values of 20 images of 16 bits are at most 4,095 (12 bits), so `high_byte`
        leaves 16 of 256 levels; set ingest.decode.sixteen_bit to { window: { low: 16, high: 4000 }
        }, or to stretch.
        """
        bits = self.top.bit_length()
        if bits == 16:
            return ""
        return (
            f"the values of {count_text(self.images, 'image')} of 16 bits are at most "
            f"{number_text(self.top)} ({bits} bits), so `high_byte` leaves {(self.top >> 8) + 1} "
            f"of 256 levels; set ingest.decode.sixteen_bit to {self.window}, or to stretch"
        )


def sixteen_bit_values(
    root: Path, paths: Sequence[str], params: Decode, state: Path
) -> Values | None:
    """Return the values of the images of 16 bits among at most READ of the images.

    root: the folder data/raw. paths: the paths of the images. params: the section `ingest.decode`.
    state: the folder for copies of the arrays of an .npz. The read images are spread evenly over
    `paths`. Images that cannot be read are left out. Returns None if no image has 16 bits.

    Raises UserError if an array file is damaged, or if the disk is too full for a copy of an array.
    """
    places = np.unique(np.linspace(0, len(paths) - 1, min(READ, len(paths))).round().astype(int))
    counts, images = np.zeros(2**16, np.int64), 0
    for place in places:
        try:
            data = read_bytes(root, paths[place], params.max_bytes, state)
            values = stored_values(data, params)
        except Fault:
            continue
        if values is not None:
            counts += np.bincount(values.ravel(), minlength=2**16)
            images += 1
    if not images:
        return None
    upto = counts.cumsum() / counts.sum()
    low, high = (int(upto.searchsorted(share)) for share in (DARK, BRIGHT))
    top = int(counts.nonzero()[0].max())
    return Values(images, top, min(low, high - 1) if high else 0, max(high, 1))
