"""A folder of class folders → the manifest: one row per image file, sorted by path, good or bad.

An image file is one with an image extension, in any case, however deep; the label is the name of
the top folder. Nothing outside the folder is read: symbolic links, pipes and devices become rows
with a fault, as unreadable and broken files do.
"""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from components.data.images import Facts, Fault, Pixels, decode
from components.data.threads import in_threads
from components.errors import UserError
from components.params import Ingest
from components.progress import say, track

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

# Column → type. Whole numbers are nullable: a broken file has no width.
COLUMNS = {
    "path": "str",
    "label": "str",
    "group": "str",
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
    "fault": "str",
}


def build_manifest(root: Path, params: Ingest) -> pd.DataFrame:
    """Read every image file below `root` into a row with the columns of COLUMNS.

    Raises UserError where there is no `root`, no class folder, one class only, or no image.
    """
    if not root.is_dir():
        raise UserError(
            f"no folder with images; put one folder per class into {root}, or try "
            f"`fovea sample digits`. Received: {root} does not exist"
        )
    files = list(_files(root))
    images = sorted(name for name in files if PurePosixPath(name).suffix.lower() in EXTENSIONS)
    _say_ignored(set(files) - set(images))
    _check_classes(root, images)
    rows = in_threads(partial(_row, root, params=params), images)
    return as_manifest(list(track(rows, "ingest: images read", total=len(images))))


def as_manifest(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Give rows the columns and types of a manifest; what a row does not say is null."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def pixels_id(pixels: Pixels) -> str:
    """Return the sha256 (hex) of decoded pixels, uint8 [H, W, 3], shape included."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[str]:
    """Yield all that is not a real folder, relative to root, links to folders included."""
    for folder, inner, names in os.walk(root, followlinks=False):
        here = Path(folder)
        links = [name for name in inner if (here / name).is_symlink()]
        for name in [*names, *links]:
            yield (here / name).relative_to(root).as_posix()


def _say_ignored(names: set[str]) -> None:
    if names:
        kinds = Counter(PurePosixPath(name).suffix or PurePosixPath(name).name for name in names)
        listed = ", ".join(f"{count} × {kind}" for kind, count in sorted(kinds.items())[:8])
        say(f"ingest: {len(names)} files ignored that are not images by extension ({listed})")


def _check_classes(root: Path, images: list[str]) -> None:
    folders = sorted(
        path.name for path in root.iterdir() if path.is_dir() and not path.is_symlink()
    )
    layout = f"put one folder per class, with its images, into {root}"
    kinds = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
    if not folders:
        raise UserError(f"no class folder; {layout}. Received: {len(images)} images, 0 folders")
    if not images:
        raise UserError(f"no image ({kinds}); {layout}. Received: {len(folders)} empty folders")
    classes = {_label(name) for name in images} - {""}
    if len(classes) < 2:
        found = f"images of class {classes.pop()} alone" if classes else "images of no class"
        raise UserError(f"a classifier needs two classes or more; {layout}. Received: {found}")


def _label(name: str) -> str:
    """Name the top folder, or nothing for an image that lies in no class folder."""
    return PurePosixPath(name).parts[0] if "/" in name else ""


def _row(root: Path, name: str, params: Ingest) -> dict[str, Any]:
    row: dict[str, Any] = {"path": _spelled(name), "label": _spelled(_label(name)), "bytes": 0}
    try:
        data = _read(root / name, params)
        row |= {"bytes": len(data), "image_id": hashlib.sha256(data).hexdigest()}
        if row["path"] != name:
            raise Fault("unreadable_name", "the file's name is not UTF-8")
        image = decode(data, params.decode)
    except Fault as fault:
        return row | _facts(fault.facts) | {"fault": fault.code}
    return row | _facts(image) | {"pixels_id": pixels_id(image.pixels)}


def _read(path: Path, params: Ingest) -> bytes:
    """Read a plain file. Raises Fault where it is something else, too large, or not for us."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            kind = "symlink" if stat.S_ISLNK(status.st_mode) else "not_a_file"
            raise Fault(kind, "only plain files are read")
        if status.st_size > params.decode.max_bytes:
            raise Fault("too_many_bytes", f"{status.st_size} bytes are too many for an image")
        return path.read_bytes()
    except OSError as error:
        raise Fault("unreadable", str(error)) from None


def _spelled(name: str) -> str:
    r"""Write out what is not UTF-8 in a name (\udcff), so that tables can hold it."""
    return name.encode("utf-8", "backslashreplace").decode()


def _facts(facts: Facts) -> dict[str, Any]:
    return {field: getattr(facts, field) for field in Facts.__dataclass_fields__}
