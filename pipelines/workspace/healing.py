"""Damaged content → intact content, in DVC's cache or in the workspace, whole or not at all.

Only content with the right md5 is put in place. A damaged object for which there is no intact
content stays as it is: it may be the last copy of a picture, with one wrong byte.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from pipelines import artifacts
from pipelines.workspace import dvc_files
from pipelines.workspace.processes import DVC, CommandFailedError, run, stage_environment

log = logging.getLogger(__name__)

ASIDE = artifacts.STATE / "damaged"
READ_ONLY = 0o444  # DVC takes an object of its cache for whole if it is read-only


def md5(path: Path) -> str | None:
    """Return the md5 of a file, or None where it is missing or cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, _md5).hexdigest()
    except OSError:
        return None


def is_intact(name: str) -> bool:
    """Tell whether the cache has this object, with the content whose md5 is its name."""
    return md5(dvc_files.object_path(name)) == name.removesuffix(dvc_files.FOLDER)


def undo_unfinished() -> None:
    """Undo what a killed healing left. To be called with the workspace locked."""
    for path in list(ASIDE.glob("*")):
        _return_object(path.name)
    for left in [*dvc_files.cache_folder().glob(".healed.*"), *Path("data").glob(".healed.*")]:
        left.unlink(missing_ok=True)


def replace_object(name: str, intact: Path) -> bool:
    """Copy a file into the cache as the object `name`, if its md5 is right; return whether so."""
    path = dvc_files.object_path(name)
    temporary = dvc_files.cache_folder() / f".healed.{os.getpid()}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    return _replace(path, intact, temporary, name, READ_ONLY)


def restore_file(path: Path, name: str) -> bool:
    """Copy the object `name` of the cache to `path`, if its md5 is right; return whether so."""
    if path.is_symlink():  # to the cache, where DVC's cache.type is symlink
        return md5(path) == name
    temporary = Path("data") / f".healed.{os.getpid()}.part"
    return _replace(path, dvc_files.object_path(name), temporary, name, path.stat().st_mode)


def rebuild_listing(name: str, folder: Path) -> bool:
    """Write the listing `name` again from a folder in the workspace; return whether it fits."""
    files = {
        path.relative_to(folder).as_posix(): md5(path) or ""
        for path in folder.rglob("*")
        if path.is_file()
    }
    rebuilt = Path("data") / f".healed.listing.{os.getpid()}.part"
    try:
        rebuilt.write_bytes(dvc_files.listing_bytes(files))
        return replace_object(name, rebuilt)
    finally:
        rebuilt.unlink(missing_ok=True)


def fetch_objects(names: Collection[str], targets: Sequence[str]) -> set[str]:
    """Fetch objects from DVC's remote; return those that are intact now.

    targets: the .dvc file and the outputs that the objects belong to.
    DVC fetches only what is missing. So damaged objects are moved to another folder before, and
    moved back where the remote has no intact one.
    """
    ASIDE.mkdir(parents=True, exist_ok=True)
    try:
        for name in names:
            with suppress(FileNotFoundError):
                shutil.move(dvc_files.object_path(name), ASIDE / name)
        for target in targets:  # one by one, since an unknown target would stop the others
            with suppress(CommandFailedError):  # DVC has printed its reason
                run([*DVC, "--wait-for-lock", "fetch", target], stage_environment({}))
        return {name for name in names if is_intact(name)}
    finally:
        for name in names:
            _return_object(name)


def _return_object(name: str) -> None:
    """Move an object back into the cache, unless an intact one is there by now."""
    aside = ASIDE / name
    if not aside.exists():
        return
    if is_intact(name):
        aside.unlink()
        return
    path = dvc_files.object_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    shutil.move(aside, path)


def _replace(path: Path, intact: Path, temporary: Path, name: str, mode: int) -> bool:
    """Copy `intact` to `path`, if its md5 is `name`; return whether so.

    `intact` may be missing or not readable. Raises OSError where writing fails.
    """
    if md5(intact) != name.removesuffix(dvc_files.FOLDER):
        return False
    try:
        shutil.copyfile(intact, temporary)
        if md5(temporary) != name.removesuffix(dvc_files.FOLDER):
            return False
        temporary.chmod(mode & 0o777)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        return True
    except FileNotFoundError:
        return False
    finally:
        temporary.unlink(missing_ok=True)


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)
