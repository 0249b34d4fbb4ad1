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
    """Write the sample's images into data/raw, all or none, and run `dvc add`.

    Raises UserError outside of a repository's root, if data/raw is not empty or tracked already, or
    if DVC fails.
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
        problem = f"{tracked}, so DVC has its images; `dvc checkout` or `dvc pull` brings them back"
    else:
        return
    raise UserError(
        f"{folder} is not overwritten; move its images and {tracked} away first if you want the "
        f"sample. Received: {problem}"
    )


def digits() -> Iterator[tuple[str, bytes]]:
    """Yield scikit-learn's 1,797 handwritten digits: (`<digit>/<number>.png`, bytes of the file).

    8 × 8 pixels, grey, 8 bits: values 0–16 are stretched to 0–255. Source: Alpaydin and Kaynak,
    Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
    """
    from sklearn.datasets import load_digits

    from components.images.png_writer import encode_png

    samples = load_digits()
    for number, (values, label) in enumerate(zip(samples.images, samples.target, strict=True)):
        pixels = np.rint(values * (255 / 16)).astype(np.uint8)
        yield f"{label}/{number:04d}.png", encode_png(pixels)


SAMPLES = {"digits": digits}
