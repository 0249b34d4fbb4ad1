"""Nothing → images to try the pipeline with, from packages that are installed anyway."""

from collections.abc import Iterator

import numpy as np

from components.data.images.decoder import encode_png


def digits() -> Iterator[tuple[str, bytes]]:
    """Yield scikit-learn's 1,797 handwritten digits: (`<digit>/<number>.png`, bytes of the file).

    8 × 8 pixels, grey, 8 bits: values 0–16 are stretched to 0–255. Source: Alpaydin and Kaynak,
    Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
    """
    from sklearn.datasets import load_digits

    samples = load_digits()
    for number, (values, label) in enumerate(zip(samples.images, samples.target, strict=True)):
        pixels = np.rint(values * (255 / 16)).astype(np.uint8)
        yield f"{label}/{number:04d}.png", encode_png(pixels)
