"""Damaged content → intact content, in DVC's cache or in the workspace, whole or not at all.

Nothing is taken on trust: what is put in place has the md5 that is its name. An object that cannot
be replaced stays as it was, for a picture with one wrong byte may be the last there is.
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
READ_ONLY = 0o444  # by which DVC knows that an object is whole


def md5(path: Path) -> str | None:
    """Return the md5 of a plain file, or None where there is none that can be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, _md5).hexdigest()
    except OSError:
        return None


def is_intact(name: str) -> bool:
    """Tell whether the cache has this object, with the content that its name says."""
    return md5(dvc_files.object_path(name)) == name.removesuffix(dvc_files.FOLDER)


def tidy() -> None:
    """Undo what a killed healing left; nobody else is at work where the workspace is locked."""
    for kept in list(ASIDE.glob("*")):
        _put_back(kept.name)
    for left in [*dvc_files.cache_folder().glob(".healed.*"), *Path("data").glob(".healed.*")]:
        left.unlink(missing_ok=True)


def keep_object(name: str, intact: Path) -> bool:
    """Copy a file into the cache as the object `name`; say whether it has that content."""
    path = dvc_files.object_path(name)
    temporary = dvc_files.cache_folder() / f".healed.{os.getpid()}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    return _replaced(path, intact, temporary, name, READ_ONLY)


def bring_back(path: Path, name: str) -> bool:
    """Copy the object `name` of the cache to `path`; say whether it had that content."""
    if path.is_symlink():  # to the cache, where DVC is told to link
        return md5(path) == name
    temporary = Path("data") / f".healed.{os.getpid()}.part"
    return _replaced(path, dvc_files.object_path(name), temporary, name, path.stat().st_mode)


def keep_listing(name: str, folder: Path) -> bool:
    """Write the listing `name` anew from a folder in the workspace, if that is what it lists."""
    files = {
        path.relative_to(folder).as_posix(): md5(path) or ""
        for path in folder.rglob("*")
        if path.is_file()
    }
    made = Path("data") / f".healed.listing.{os.getpid()}.part"
    try:
        made.write_bytes(dvc_files.listing_bytes(files))
        return keep_object(name, made)
    finally:
        made.unlink(missing_ok=True)


def fetch(names: Collection[str], targets: Sequence[str]) -> set[str]:
    """Fetch objects from DVC's remote; return those that are intact now.

    targets: the .dvc file and outputs they belong to. DVC fetches only what is not there, so bad
    objects are put aside meanwhile, and back where the remote has nothing better.
    """
    ASIDE.mkdir(parents=True, exist_ok=True)
    try:
        for name in names:
            with suppress(FileNotFoundError):
                shutil.move(dvc_files.object_path(name), ASIDE / name)
        for target in targets:  # one by one, for an unknown one would stop the others
            with suppress(CommandFailedError):  # DVC's own words have been said
                run([*DVC, "--wait-for-lock", "fetch", target], stage_environment({}))
        return {name for name in names if is_intact(name)}
    finally:
        for name in names:
            _put_back(name)


def _put_back(name: str) -> None:
    """Return an object to its place, unless an intact one has taken it."""
    kept = ASIDE / name
    if not kept.exists():
        return
    if is_intact(name):
        kept.unlink()
        return
    path = dvc_files.object_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    shutil.move(kept, path)


def _replaced(path: Path, intact: Path, temporary: Path, name: str, mode: int) -> bool:
    """Say whether `intact`, which may be anything, had that content. Errors are of writing."""
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
