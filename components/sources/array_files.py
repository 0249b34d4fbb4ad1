"""A .npy or .npz file → the arrays in it, and single elements of them; never a pickle.

An element is read through a memory map. A .npy file is mapped where it is; an array of an .npz is
first copied into a .npy file below `state/arrays`, in a folder named by the sha256 of the .npz, so
it is copied once however many stages read it. These copies may be deleted at any time.
"""

import hashlib
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from components.errors import UserError, one_line
from components.files import write_whole
from components.images.fault import Fault
from components.sources.tree import open_plain

Array = NDArray[Any]
State = tuple[int, int, int, int]

# A bound on what is unpacked onto the disk; an array that is stored plainly may have any size.
MAX_UNPACKED_BYTES = 2 * 2**30
# Blank pictures are compressed well, but an array beyond both of these is an attack (a zip bomb).
MAX_RATIO, RATIO_FROM_BYTES = 200, 100 * 2**20
KEPT = 3  # files and maps that are held open at a time: train, val and test
LOCK = threading.Lock()  # else every thread would copy the same array


@dataclass(frozen=True)
class Stored:
    """An array in a file: what its header says; its values are not read yet.

    member: its name in an .npz, None in an .npy.
    """

    file: str
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def path(self) -> str:
        """How the paths of its elements begin."""
        return self.file if self.member is None else f"{self.file}/{self.member}"

    @property
    def element_bytes(self) -> int:
        """Bytes of one element, which is all but the first axis."""
        return prod(self.shape[1:]) * self.dtype.itemsize


def stored_arrays(root: Path, file: str) -> Mapping[str | None, Stored]:
    """Return the arrays of a file below `root` by their names, None for the one of an .npy.

    Sizes in the headers are compared with the sizes in the file before any value is read.
    Raises UserError where the file is damaged, holds pickles or would unpack to too much; Fault as
    `open_plain` does.
    """
    with open_plain(root, file) as descriptor, LOCK:
        return _read_headers(root, file, _state(descriptor))


def read_array(root: Path, stored: Stored) -> Array:
    """Read all of an array into memory. Raises UserError where the file is damaged."""
    with _open(root, stored.file) as stream, _open_array(stream, stored.member) as array:
        return npy.read_array(array, allow_pickle=False)


def read_element(root: Path, stored: Stored, number: int, state: Path) -> bytes:
    """Return the bytes of one element, in C order.

    state: the folder below which arrays of an .npz are kept unpacked.
    Raises UserError where the file is damaged, or the disk has no room; Fault as `open_plain` does.
    """
    with open_plain(root, stored.file) as descriptor, LOCK:
        array = _map(root, stored, _state(descriptor), state)
    picture: bytes = array[number].tobytes()
    return picture


@lru_cache(maxsize=KEPT)
def file_md5(root: Path, file: str, state: tuple[int, ...]) -> str:
    """Return the md5 (hex) of a whole file below root, as DVC names files. Raises as `open_plain`.

    state: values that change whenever the file does; the same file is not read twice.
    """
    return _digest(root, file, partial(hashlib.md5, usedforsecurity=False))


@lru_cache(maxsize=KEPT)
def _file_sha256(root: Path, file: str, state: State) -> str:
    return _digest(root, file, hashlib.sha256)


def _digest(root: Path, file: str, algorithm: Any) -> str:
    with open_plain(root, file) as descriptor, os.fdopen(os.dup(descriptor), "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _state(descriptor: int) -> State:
    """Return what changes whenever the file does: keys of the caches below."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@lru_cache(maxsize=KEPT)
def _read_headers(root: Path, file: str, state: State) -> Mapping[str | None, Stored]:
    with _open(root, file) as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            return {None: _describe(stream, file, None, state[0])}
        with zipfile.ZipFile(stream) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            return {info.filename[:-4]: _describe_member(archive, info, file) for info in members}


@lru_cache(maxsize=KEPT)
def _map(root: Path, stored: Stored, file_state: State, state: Path) -> Array:
    """Map an array into memory: a .npy file as it is, an array of an .npz from its copy."""
    if stored.member is None:
        with _open(root, stored.file) as stream:
            shape, fortran, dtype = _read_header(stream)
            order = "F" if fortran else "C"
            return np.memmap(stream, dtype, "r", stream.tell(), shape, order)  # type: ignore[call-overload, no-any-return]
    name = hashlib.sha256(stored.member.encode()).hexdigest()[:16]  # may be no name of a file
    copies = state / "arrays" / stored.file
    copy = copies / _file_sha256(root, stored.file, file_state) / f"{name}.npy"
    if not copy.is_file():
        _drop_others(copies, copy.parent)
        _unpack(root, stored, copy)
    array: Array = np.load(copy, mmap_mode="r", allow_pickle=False)
    return array


def _drop_others(copies: Path, current: Path) -> None:
    """Remove copies of what the .npz was before it changed."""
    for folder in set(copies.glob("*")) - {current}:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(root: Path, stored: Stored, copy: Path) -> None:
    """Write an array of an .npz as a .npy file, which is what a member of an .npz is."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    needed = prod(stored.shape) * stored.dtype.itemsize
    free = shutil.disk_usage(copy.parent).free
    if needed > free:
        raise UserError(
            f"{stored.path} needs {needed:,} bytes below {copy.parent} to be read picture by "
            f"picture; free some disk. Received: {free:,} bytes free"
        )
    with (
        _open(root, stored.file) as stream,
        _open_array(stream, stored.member) as array,
        write_whole(copy) as temporary,
        temporary.open("wb") as file,
    ):
        shutil.copyfileobj(array, file)


@contextmanager
def _open(root: Path, file: str) -> Iterator[IO[bytes]]:
    """Open an array file; errors that NumPy or zipfile raise for a bad one become UserError."""
    with open_plain(root, file) as descriptor, os.fdopen(os.dup(descriptor), "rb") as stream:
        try:
            yield stream
        except (UserError, Fault):
            raise
        except Exception as error:  # bad bytes make them raise a dozen unrelated types
            problem = one_line(f"{type(error).__name__}: {error}")
            raise UserError(
                f"{root / file} is not a sound array file; bring it back or write it again. "
                f"Received: {problem}"
            ) from None


@contextmanager
def _open_array(stream: IO[bytes], member: str | None) -> Iterator[IO[bytes]]:
    """Open the .npy that a file is, or that an .npz holds below the name `member`."""
    if member is None:
        yield stream
        return
    with zipfile.ZipFile(stream) as archive, archive.open(f"{member}.npy") as array:
        yield array


def _describe_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: str) -> Stored:
    name = info.filename.removesuffix(".npy")
    packed = info.compress_type != zipfile.ZIP_STORED
    ratio = info.file_size / max(1, info.compress_size)
    bomb = ratio > MAX_RATIO and info.file_size > RATIO_FROM_BYTES
    if packed and (info.file_size > MAX_UNPACKED_BYTES or bomb):
        raise UserError(
            f"{name} in {file} would unpack to {info.file_size:,} bytes; up to "
            f"{MAX_UNPACKED_BYTES:,} bytes and {MAX_RATIO} times the packed size are unpacked, so "
            f"save it with np.savez, without compression. Received: {info.compress_size:,} packed"
        )
    with archive.open(info) as array:
        return _describe(array, file, name, info.file_size)


def _describe(stream: IO[bytes], file: str, member: str | None, size: int) -> Stored:
    """Read the header of a .npy and compare what it promises with the `size` of all, in bytes."""
    shape, _, dtype = _read_header(stream)
    where = f"{member} in {file}" if member else file
    if dtype.hasobject:
        raise UserError(
            f"{where} holds Python objects, and pickles are not read, since they can run code; "
            f"save pictures as uint8 and labels as integers or text. Received: dtype {dtype}"
        )
    promised = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size - stream.tell() != promised:
        raise UserError(
            f"{where} is cut or damaged: its header promises {promised:,} bytes of values; write "
            f"it again. Received: {size - stream.tell():,}"
        )
    return Stored(file, member, shape, dtype)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether in Fortran's order, and dtype; the stream is at the values then."""
    read = (
        npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    )
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(stream)
    return header
