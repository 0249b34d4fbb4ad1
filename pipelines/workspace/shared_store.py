"""Files ⇄ the shared store: a folder that all machines of a search reach, at any fsspec address.

The store has each file under its sha256, as `files/<sha256>`, and for each set of files a list of
names and sha256, as `lists/<sha256 of the list>.json`. So equal files are in the store once, and a
file that is there never changes. The sha256 of a list says everything about its files.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.errors import UserError, one_line
from components.files import sha256, write_whole
from components.tracking.connection import without_password

VARIABLE = "FOVEA_SHARED_STORE"
LIST = "files.json"  # the list of the files, in a folder that `get_files` has made


def put_files(address: str, files: Mapping[str, Path]) -> str:
    """Copy files into the store, and return the sha256 of their list.

    address: of the store, for fsspec. files: relative name → file.
    Raises UserError if the store is missing, or if it cannot be written.
    """
    sums = {name: sha256(path) for name, path in files.items()}
    listing = json.dumps(sums, indent=1, sort_keys=True).encode()
    digest = hashlib.sha256(listing).hexdigest()
    with _store_errors(address):
        system, root = _open(address)
        for folder in ("files", "lists"):
            system.makedirs(f"{root}/{folder}", exist_ok=True)
        for name, path in files.items():
            target = f"{root}/files/{sums[name]}"
            if not system.exists(target) or system.size(target) != path.stat().st_size:
                with _renamed(system, target) as part:
                    system.put_file(str(path), part)
        # It is always written, so that a store that cannot be written is found also if it is full
        # of the same files.
        with _renamed(system, f"{root}/lists/{digest}.json") as part:
            system.pipe_file(part, listing)
    return digest


def get_files(address: str, digest: str, folder: Path) -> Path:
    """Copy the files of a list into the folder `folder`/`digest`, and return it.

    A folder that is there is complete, and is used again. A file that another folder below `folder`
    has is linked. The sha256 of every file is checked. Only one process at a time may call this
    function for a folder.

    address: of the store, for fsspec. digest: the result of `put_files`.
    Raises UserError if the store is missing, or if a file in it is missing or damaged.
    """
    target = folder / digest
    if target.is_dir():
        return target
    with _store_errors(address):
        system, root = _open(address)
        listing = system.cat_file(f"{root}/lists/{digest}.json")
    _check(hashlib.sha256(listing).hexdigest(), digest, f"{root}/lists/{digest}.json")
    known = _known_files(folder)
    with write_whole(target) as part:
        for name, content in json.loads(listing).items():
            file = part / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if content in known:
                os.link(known[content], file)
                if sha256(file) == content:
                    continue
                file.unlink()  # A disk has damaged it.
            with _store_errors(address):
                system.get_file(f"{root}/files/{content}", str(file))
            _check(sha256(file), content, f"{root}/files/{content}")
        (part / LIST).write_bytes(listing)
    return target


def _known_files(folder: Path) -> dict[str, Path]:
    """Return sha256 → file of the folders that `get_files` has made earlier."""
    return {
        content: listing.parent / name
        for listing in folder.glob(f"[!.]*/{LIST}")
        for name, content in json.loads(listing.read_bytes()).items()
    }


def _check(received: str, expected: str, file: str) -> None:
    if received != expected:
        raise UserError(
            f"{VARIABLE}: a file in the shared store is damaged; delete it, and start the search "
            f"again. Received: {file}, whose sha256 is {received}"
        )


@contextmanager
def _renamed(system: Any, target: str) -> Iterator[str]:
    """Yield a temporary name in the store, and rename the file to `target`, so that it is whole."""
    part = f"{target}.{uuid.uuid4().hex}.part"
    try:
        yield part
        system.mv(part, target)
    except BaseException:
        with suppress(Exception):  # Of a full disk, nothing should stay that nobody needs.
            system.rm_file(part)
        raise


def _open(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it."""
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    system, root = fsspec.core.url_to_fs(address)
    # Otherwise a mistyped path would be created, and no other machine would find it.
    if isinstance(system, LocalFileSystem) and not Path(root).is_dir():
        raise UserError(
            f"{VARIABLE}: the shared store is no folder; create it, or mount it. Received: {root}"
        )
    return system, root.rstrip("/")


@contextmanager
def _store_errors(address: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # The errors of fsspec's file systems have no common class.
        raise UserError(
            f"{VARIABLE}: the shared store cannot be read and written; correct its address or its "
            f"rights. Received: {without_password(address)}, "
            f"{one_line(f'{type(error).__name__}: {error}')}"
        ) from None
