"""The name of a sample → its images in data/raw, tracked by DVC.

The images come with an installed package, so nothing is downloaded.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.errors import UserError
from components.files import write_whole
from components.progress import track
from pipelines import artifacts
from pipelines.workspace.raw_data import check_root, track_with_dvc

log = logging.getLogger(__name__)

IMAGES = {"digits": 1_797}


def write_sample(name: str) -> None:
    """Write all images of the sample into data/raw, and run `dvc add`.

    name: a key of `SAMPLES`. If the process is killed, data/raw has all of the images or no image.
    Raises UserError if the current folder is not the root of a repository, if data/raw is not
    empty, if data/raw.dvc exists, or if DVC fails.
    """
    check_root()
    _check_free(artifacts.RAW)
    images = SAMPLES[name]()
    with write_whole(artifacts.RAW) as folder:
        for path, content in track(images, f"sample {name}", total=IMAGES[name]):
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    track_with_dvc(artifacts.RAW)
    log.info(
        f"{IMAGES[name]:,} images are in {artifacts.RAW}, tracked by {artifacts.RAW}.dvc; "
        "next: dvc repro"
    )


def _check_free(folder: Path) -> None:
    tracked = Path(f"{folder}.dvc")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        problem = "something that is not a folder"
    elif folder.is_dir() and any(folder.iterdir()):
        problem = f"{sum(1 for _ in folder.iterdir())} entries"
    elif tracked.exists():
        problem = f"{tracked}; `dvc checkout` or `dvc pull` restores the images that it names"
    else:
        return
    raise UserError(
        f"{folder} is not overwritten; move its images and {tracked} away first if you want the "
        f"sample. Received: {problem}"
    )


def digits() -> Iterator[tuple[str, bytes]]:
    """Yield the path and the bytes of a PNG file for each of scikit-learn's 1,797 digits.

    A path has the form `<digit>/<number>.png`. Each image is grey, with 8 × 8 pixels of 8 bits. The
    pixel values of scikit-learn, 0 to 16, are scaled to 0 to 255. Source of the images: Alpaydin
    and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
    """
    from sklearn.datasets import load_digits

    from components.images.png_writer import encode_png

    samples = load_digits()
    for number, (values, label) in enumerate(zip(samples.images, samples.target, strict=True)):
        pixels = np.rint(values * (255 / 16)).astype(np.uint8)
        yield f"{label}/{number:04d}.png", encode_png(pixels)


SAMPLES = {"digits": digits}
