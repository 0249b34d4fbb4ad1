"""A damaged file in DVC's cache or the workspace → the same file with intact content.

A file is replaced in one step, and only by content with the right md5. If no intact content is
found, the damaged file is kept. The damaged file may be the only copy of a picture, and perhaps
only one byte of the file is wrong.

An object is a file in DVC's cache whose name is the md5 of its content. A listing is an object that
names the files of a folder; its name ends in `.dir` (see dvc_files.py).
"""

import logging
import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from components.sources.dvc_cache import cache_folder
from pipelines import artifacts
from pipelines.workspace import dvc_files
from pipelines.workspace.model_commits import md5_of_file
from pipelines.workspace.processes import DVC, CommandFailedError, run, stage_environment
from pipelines.workspace.remote import check_default_remote

log = logging.getLogger(__name__)

# Damaged objects are moved to this folder while DVC fetches intact copies.
ASIDE = artifacts.STATE / "damaged"
READ_ONLY = 0o444  # DVC trusts a read-only object of its cache without computing the md5 again.


def md5(path: Path) -> str | None:
    """Return the md5 of a file; None if the file is missing or cannot be read."""
    try:
        return md5_of_file(path)
    except OSError:
        return None


def is_intact(name: str) -> bool:
    """Return whether the cache has the object `name`, and the md5 of its content is its name."""
    return md5(dvc_files.object_path(name)) == name.removesuffix(dvc_files.FOLDER)


def undo_unfinished() -> None:
    """Undo what a killed `fovea data verify --heal` left unfinished.

    The objects in the folder ASIDE are moved back into the cache. If the cache has an intact copy
    of an object already, the damaged object is deleted instead. Temporary files are deleted. The
    caller must hold the lock of the workspace.
    """
    for path in list(ASIDE.glob("*")):
        _return_object(path.name)
    for left in [*cache_folder().glob(".healed.*"), *Path("data").glob(".healed.*")]:
        left.unlink(missing_ok=True)


def replace_object(name: str, intact: Path) -> bool:
    """Copy the file `intact` into the cache as the object `name`.

    Nothing is copied if the md5 of the file is not the name of the object (without `.dir`).
    Returns whether the object was replaced. Raises OSError if writing fails.
    """
    path = dvc_files.object_path(name)
    temporary = cache_folder() / f".healed.{os.getpid()}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    return _replace(path, intact, temporary, name, READ_ONLY)


def restore_file(path: Path, name: str) -> bool:
    """Copy the object `name` of the cache to `path`, if the object is intact.

    Returns whether `path` now has the right content. Raises OSError if `path` is missing or cannot
    be written.
    """
    if path.is_symlink():  # With DVC's `cache.type = symlink`, `path` is a link to the object.
        return md5(path) == name
    temporary = Path("data") / f".healed.{os.getpid()}.part"
    return _replace(path, dvc_files.object_path(name), temporary, name, path.stat().st_mode)


def rebuild_listing(name: str, folder: Path) -> bool:
    """Write the listing `name` again. It is computed from the files of `folder` in the workspace.

    If a file of the folder was added, removed or changed, the md5 of the computed listing is not
    `name`. In this case nothing is written. Returns whether the listing was written. Raises OSError
    if writing fails.
    """
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
    """Fetch objects from DVC's remote. Return the names of the objects that are intact now.

    names: the names of the objects. targets: the arguments of `dvc fetch`, which are the .dvc file
    and the outs of stages that contain these objects.
    DVC fetches only objects that are missing. So damaged objects are first moved to the folder
    ASIDE. If the remote has no intact copy of an object, the damaged object is moved back.
    Raises UserError within 15 s if the default remote does not answer. Nothing is moved then.
    """
    check_default_remote()
    ASIDE.mkdir(parents=True, exist_ok=True)
    try:
        for name in names:
            with suppress(FileNotFoundError):
                shutil.move(dvc_files.object_path(name), ASIDE / name)
        # `dvc fetch` runs once for each target, because DVC fetches nothing if it does not know one
        # of several targets.
        for target in targets:
            with suppress(CommandFailedError):  # `run` has already logged the reason.
                run([*DVC, "--wait-for-lock", "fetch", target], stage_environment({}))
        return {name for name in names if is_intact(name)}
    finally:
        for name in names:
            _return_object(name)


def _return_object(name: str) -> None:
    """Move the object `name` from the folder ASIDE back into the cache.

    If the cache now has the intact object, the damaged object in ASIDE is deleted instead.
    """
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
    """Copy the file `intact` to `path`, if the md5 of the file is `name` without `.dir`.

    Nothing is copied if `intact` is missing or not readable. Returns whether the file was copied.
    Raises OSError if writing fails.
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
