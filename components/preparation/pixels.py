"""Rows of the manifest, raw images → one uint8 array on disk, in the order of the rows.

The manifest is the table of all images. This module decodes the images of the rows. Training and
evaluation read the array and decode no images. Before an image is decoded, the sha256 of its bytes
is compared with the manifest. So training uses exactly the images that the manifest lists. Only a
few images are in memory at the same time.
"""

import hashlib
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from components.errors import UserError
from components.files import write_whole
from components.images.decoder import Pixels, decode, resize
from components.images.fault import Fault
from components.parallel import in_threads
from components.params.ingest import Ingest
from components.params.prepare import Prepare
from components.progress import track
from components.sources.reading import read_bytes


def prepare_images(
    root: Path,
    rows: pd.DataFrame,
    ingest: Ingest,
    prepare: Prepare,
    destination: Path,
    state: Path | None = None,
) -> None:
    """Write `destination`, a .npy file of uint8 [len(rows), size, size, 3], in the order of `rows`.

    root: the folder with the raw images. rows: a table with the columns path (relative to `root`)
    and image_id (the sha256 of the file). ingest: the params `ingest`, with the rules for decoding.
    prepare: the size of the prepared images and the method of resizing. Usually these values come
    from the section `prepare` of params.yaml. The stage `register` also prepares images for the
    champion (the model that is in use). If the champion was trained with another size or method,
    `register` passes the size and the method of the champion.
    state: the folder in which the stage `ingest` keeps copies of the arrays of .npz files. The
    folder is used for raw images that are stored in an .npz. If `state` is None, a temporary folder
    is used.

    Raises UserError if a file is missing or cannot be read, if its sha256 is not the image_id, if
    an image cannot be decoded, if an array file is damaged, or if the disk has too little space.
    """
    shape = (len(rows), prepare.size, prepare.size, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    destination.parent.mkdir(parents=True, exist_ok=True)
    _check_room(destination, int(np.prod(shape)))
    pairs = zip(rows["path"], rows["image_id"], strict=True)
    # The array is written with plain writes, not through a memory map. If the disk becomes full, a
    # plain write raises an error, but a write to a memory map kills the process.
    with (
        TemporaryDirectory() if state is None else nullcontext(state) as folder,
        write_whole(destination) as temporary,
        temporary.open("wb") as file,
    ):
        images = in_threads(partial(_prepare_image, root, Path(folder), ingest, prepare), pairs)
        images = track(images, f"prepare images for {destination.name}", total=len(rows))
        np.lib.format.write_array_header_1_0(file, header)
        for pixels in images:
            file.write(pixels.tobytes())
        file.flush()


def _prepare_image(
    root: Path, state: Path, ingest: Ingest, prepare: Prepare, row: tuple[str, str]
) -> Pixels:
    path, image_id = row
    try:
        data = read_bytes(root, path, ingest.decode.max_bytes, state)
    except Fault as fault:
        raise UserError(
            f"cannot read {root / path}, although the manifest lists it; restore it with "
            f"`dvc checkout`, or run `dvc repro` again. Received: {fault.text}"
        ) from None
    actual = hashlib.sha256(data).hexdigest()
    if actual != image_id:
        raise UserError(
            f"{root / path} has changed since the manifest was written; if you changed it, run "
            "`dvc repro`; if you did not, restore it with `fovea data verify --heal`. "
            f"Received: sha256 {actual[:12]}… instead of {image_id[:12]}…"
        )
    try:
        return resize(decode(data, ingest.decode).pixels, prepare.size, prepare.resize)
    except Fault as fault:
        raise UserError(
            f"cannot decode {root / path}; run `dvc repro` again. Received: {fault.text}"
        ) from None


def _check_room(destination: Path, needed: int) -> None:
    free = shutil.disk_usage(destination.parent).free
    if needed > free:
        raise UserError(
            f"{destination} needs {needed:,} bytes; free some disk space, or lower prepare.size. "
            f"Received: {free:,} bytes free"
        )
