"""data/raw.dvc, dvc.lock, DVC's cache → paths of files and the md5 of their content.

This module reads the files of DVC and does not start DVC. Reading takes milliseconds and needs no
lock, so it also works while `dvc repro` runs.

DVC's cache holds objects. An object is a file whose name is the md5 of its content. A listing is an
object that names the files of a folder. The name of a listing is the md5 of its content and `.dir`.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from components.errors import UserError, one_line
from components.sources.dvc_cache import cache_folder

log = logging.getLogger(__name__)

# PyYAML's parser in C reads dvc.lock thirty times as fast as its parser in Python. Some
# installations of PyYAML do not have the parser in C.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FOLDER = ".dir"  # The name of a listing ends with this text.


def recorded_files(folder: Path) -> dict[str, str] | None:
    """Return the files of `folder` that DVC recorded: POSIX path below `folder` → md5.

    Returns None if there is no file `<folder>.dvc`. Returns None and logs a warning if this file is
    empty, or if DVC's cache does not have the listing of the folder. For example, a user copied the
    images to this machine, but not DVC's cache. Then the caller does not compare the files with the
    listing.

    The current folder must be the repository's root. The function takes no lock and starts no
    process.
    Raises UserError if `<folder>.dvc` is not in the format of DVC 3, or if the listing is damaged.
    A listing is damaged if the md5 of its content is not its name.
    """
    name = listing_name(folder)
    if name is None:
        return None
    if not object_path(name).exists():
        log.warning(
            f"DVC's cache does not have the list of files in {folder}, so the files are not "
            f"compared with the list; `dvc fetch` fetches the list, and `dvc add {folder}` makes a "
            "new list"
        )
        return None
    return read_listing(name)


def listing_name(folder: Path) -> str | None:
    """Return the name of the listing in `<folder>.dvc`, in the form `<32 hex digits>.dir`.

    Returns None if the file is missing. Returns None and logs a warning if the file is empty.
    Raises UserError if the file is not in the format of DVC 3.
    """
    tracked = Path(f"{folder}.dvc")
    try:
        text = tracked.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    if not text.strip():  # `dvc repro` first empties this file and then writes it.
        log.warning(
            f"{tracked} is empty, probably because DVC was killed while it wrote the file. The "
            f"images in {folder} are not compared with the file. `git checkout {tracked}` restores "
            f"the file, or `dvc add {folder}` writes it again"
        )
        return None
    name = listing_name_in(text)
    if name is None:
        raise UserError(
            f"{tracked} must name a folder in the format of DVC 3; restore it with git, or run "
            f"`dvc add {folder}`. Received: {one_line(text, longest=100)!r}"
        )
    return name


def listing_name_in(text: str) -> str | None:
    """Return the name of the listing of the folder that a .dvc file tracks.

    text: the text of the .dvc file. Returns None if the text does not have the format of DVC 3, or
    if it tracks a file and not a folder.
    """
    outs = parse(text).get("outs")
    out = outs[0] if isinstance(outs, list) and outs and isinstance(outs[0], dict) else {}
    name = out.get("md5")
    # Only DVC 3 writes `hash: md5`. An md5 of DVC 2 is not used, because DVC 2 and DVC 3 may
    # compute different md5s of the same text file.
    by_dvc_3 = isinstance(name, str) and name.endswith(FOLDER) and out.get("hash") == "md5"
    return name if by_dvc_3 else None


def added_outs(text: str) -> dict[str, str]:
    """Return path → md5 of the outs in a .dvc file.

    text: the text of the .dvc file. Any version of DVC may have written the file.
    """
    return _md5s(parse(text), "outs")


def outs_in_lock(text: str) -> dict[str, str]:
    """Return path → md5 of the outs of all stages. text: the text of dvc.lock."""
    stages = _stages(text).values()
    return {path: md5 for stage in stages for path, md5 in _md5s(stage, "outs").items()}


def stage_files(text: str, stage: str, kind: Literal["deps", "outs"]) -> dict[str, str]:
    """Return path → md5 of the deps or outs of a stage.

    text: the text of dvc.lock. stage: the name of the stage. kind: `deps` or `outs`.
    The result is empty if the text does not have the stage.
    """
    return _md5s(_stages(text).get(stage), kind)


def read_listing(name: str) -> dict[str, str]:
    """Read the listing `name` from DVC's cache. Return the files of the folder: POSIX path → md5.

    Raises UserError if the listing is missing in the cache or damaged.
    """
    content = read_object(name)
    if content is None:
        path = object_path(name)
        problem = (
            "damaged; run `fovea data verify --heal`"
            if path.is_file()
            else "missing; run `dvc fetch`"
        )
        raise UserError(
            f"the list of a folder's files in DVC's cache is {problem}. Received: {path}"
        )
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def read_object(name: str) -> bytes | None:
    """Return the content of an object of the cache; None if the object is missing or damaged."""
    try:
        content = object_path(name).read_bytes()
    except OSError:
        return None
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return content if md5 == name.removesuffix(FOLDER) else None


def listing_bytes(files: Mapping[str, str]) -> bytes:
    """Return the content of a listing. The bytes are the same as the bytes that DVC writes.

    files: the files of the folder, POSIX path → md5.
    """
    entries = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    return json.dumps(entries, sort_keys=True).encode()


def object_path(name: str) -> Path:
    """Return the path of an object in DVC's cache.

    name: the md5 of the object's content, or the name of a listing.
    """
    return cache_folder() / "files/md5" / name[:2] / name[2:]


def read_text(path: Path) -> str:
    """Return the text of a file, or an empty text if the file is missing or cannot be read.

    A file that is not UTF-8 cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return ""


def parse(text: str) -> dict[str, Any]:
    """Return the mapping that a YAML or JSON text contains.

    The result is an empty mapping if the text is not valid or does not contain a mapping. For
    example, the text is not valid if a process was killed while it wrote the file.
    """
    try:
        tree = yaml.load(text, Loader=YAML_LOADER)
    except yaml.YAMLError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _stages(text: str) -> dict[str, Any]:
    stages = parse(text).get("stages")
    return stages if isinstance(stages, dict) else {}


def _md5s(stage: Any, kind: str) -> dict[str, str]:
    rows = stage.get(kind) if isinstance(stage, dict) else None
    valid = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return {str(row.get("path")): str(row["md5"]) for row in valid if row.get("md5")}
