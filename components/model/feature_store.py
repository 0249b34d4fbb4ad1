"""The features of images, by a hash of the pixels → files that the next stage or search reads.

Each backbone has a folder, and so has each view of its images (see features.py). A file in it has
the features of some images. Its name is a hash of its content, so a file with changed bytes is
noticed and not used. Files are written whole and never changed. Deleting files only costs the time
to compute their features again.
"""

import hashlib
import io
import logging
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.errors import one_line
from components.files import write_whole

log = logging.getLogger(__name__)

LIMIT_BYTES = 4_000_000_000  # of all files together; 780,000 images with 1,280 features each
ROWS = 4096  # the maximum number of images in a file
Features = dict[bytes, NDArray[np.float32]]  # hash of the pixels → features [D]


def read_features(folder: Path) -> Features:
    """Return all features in the folder of a backbone. A damaged file is removed with a warning."""
    known: Features = {}
    for path in sorted(filter(Path.is_file, folder.glob("*.npy"))):
        with suppress(OSError):  # Another process has removed it, or it cannot be read.
            known.update(_read(path))
    return known


def write_features(folder: Path, features: Mapping[bytes, NDArray[np.float32]]) -> None:
    """Add features to the folder of a backbone. If the disk is full, only log a warning."""
    items = list(features.items())
    for start in range(0, len(items), ROWS):
        content = _to_bytes(dict(items[start : start + ROWS]))
        try:
            with write_whole(folder / f"{_hash(content)}.npy") as part:
                part.write_bytes(content)
        except OSError as error:
            log.warning(
                "features are not stored, so they will be computed again: "
                f"{one_line(error)} ({len(content):,} bytes are needed)"
            )
            return


def remove_oldest(store: Path, keep: Collection[Path], limit_bytes: int = LIMIT_BYTES) -> None:
    """Remove the files that were not used for the longest time, until the store is small enough.

    What killed processes have written in part counts, too.
    store: the folder with all other folders. keep: the folders that are in use; a file in them is
    removed only if there are no others. limit_bytes: the size that the store may have.
    """
    files = []
    for path in filter(Path.is_file, store.rglob("*.*")):
        with suppress(FileNotFoundError):
            facts = path.stat()
            files.append((path.parent in keep, facts.st_mtime_ns, facts.st_size, path))
    total = sum(size for _, _, size, _ in files)
    for _, _, size, path in sorted(files):
        if total <= limit_bytes:
            return
        with suppress(OSError):  # The folder is not empty, or the disk cannot be written.
            path.unlink(missing_ok=True)
            total -= size
            path.parent.rmdir()


def _to_bytes(features: Mapping[bytes, NDArray[np.float32]]) -> bytes:
    """Return the content of an .npy file: a table with a row for each image."""
    images, rows = np.array(list(features), np.void), np.stack(list(features.values()))
    table = np.empty(len(rows), [("image", images.dtype), ("features", np.float32, rows.shape[1:])])
    table["image"], table["features"] = images, rows
    stream = io.BytesIO()
    np.save(stream, table, allow_pickle=False)
    return stream.getvalue()


def _read(path: Path) -> Features:
    content = path.read_bytes()
    if _hash(content) != path.stem:
        log.warning(f"stored features were damaged and are computed again. Received: {path}")
        path.unlink(missing_ok=True)
        return {}
    # `remove_oldest` removes what was not read for the longest time. The file may belong to another
    # user. Another process may have removed it, and then it must not come back empty.
    with suppress(OSError):
        os.utime(path)
    table = np.load(io.BytesIO(content), allow_pickle=False)
    return dict(zip((name.tobytes() for name in table["image"]), table["features"], strict=True))


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
