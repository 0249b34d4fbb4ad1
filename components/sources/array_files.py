"""A .npy or .npz file → its arrays, or single elements of an array; pickles are never loaded.

An element is `array[number]`, such as one picture of an array of pictures. An element is read
through a memory map. A .npy file is mapped directly. An array of an .npz is first copied to a .npy
file below the folder `state/arrays`. The name of the folder of the copy is the sha256 of the .npz,
so several stages use the same copy. The copies may be deleted at any time.
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

# The maximum number of bytes of a compressed array after unpacking. The size of an uncompressed
# array is not limited.
MAX_UNPACKED_BYTES = 2 * 2**30
# The maximum ratio of unpacked bytes to packed bytes. If a compressed array has a higher ratio and
# more than RATIO_FROM_BYTES bytes after unpacking, it is refused, because it may be an attack (a
# zip bomb). A small array is accepted with any ratio, because blank pictures compress well.
MAX_RATIO, RATIO_FROM_BYTES = 200, 100 * 2**20
KEPT = 3  # the maximum number of entries in each cache (`lru_cache`) below: one for each split
LOCK = threading.Lock()  # without the lock, several threads could copy an array at the same time


@dataclass(frozen=True)
class Stored:
    """The description of an array in a file, without the values of the array.

    file: the path of the file, relative to the root.
    member: the name of the array in an .npz. None for a .npy.
    shape: the shape of the array.
    dtype: the dtype of the array.
    """

    file: str
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def path(self) -> str:
        """The path of the array: `<file>` for a .npy, `<file>/<member>` for an .npz."""
        return self.file if self.member is None else f"{self.file}/{self.member}"

    @property
    def element_bytes(self) -> int:
        """The size of one element in bytes. An element is `array[number]`, such as one picture."""
        return prod(self.shape[1:]) * self.dtype.itemsize


def stored_arrays(root: Path, file: str) -> Mapping[str | None, Stored]:
    """Return the arrays of a file: name of the array → description of the array.

    file: the path of a .npy or .npz file, relative to `root`.

    The array of a .npy has no name, so its key is None.

    The sizes that the headers announce are compared with the sizes in the file before any value is
    read. Raises UserError if the file is damaged, contains pickles, or has too many bytes after
    unpacking. Also raises the Faults of `open_plain`; a Fault says why a file cannot be read.
    """
    with open_plain(root, file) as descriptor, LOCK:
        return _read_headers(root, file, _state(descriptor))


def read_array(root: Path, stored: Stored) -> Array:
    """Read a whole array into memory.

    Raises UserError if the file is damaged. Also raises the Faults of `open_plain`.
    """
    with _open(root, stored.file) as stream, _open_array(stream, stored.member) as array:
        return npy.read_array(array, allow_pickle=False)


def read_element(root: Path, stored: Stored, number: int, state: Path) -> bytes:
    """Return the bytes of one element of an array, in C order.

    stored: the description of the array.
    number: the index of the element on the first axis of the array.
    state: the folder for copies of the arrays of an .npz.

    Raises UserError if the file is damaged, or if the disk is too full for a copy. Also raises the
    Faults of `open_plain`.
    """
    with open_plain(root, stored.file) as descriptor, LOCK:
        array = _map(root, stored, _state(descriptor), state)
    picture: bytes = array[number].tobytes()
    return picture


@lru_cache(maxsize=KEPT)
def file_md5(root: Path, file: str, state: tuple[int, ...]) -> str:
    """Return the md5 (hex) of a whole file. DVC also identifies a file by this md5.

    file: the path of the file, relative to `root`.
    state: numbers that change if the file changes. If the numbers are the same as in an earlier
    call, the cached md5 is returned and the file is not read again.

    Raises the Faults of `open_plain`.
    """
    return _digest(root, file, partial(hashlib.md5, usedforsecurity=False))


@lru_cache(maxsize=KEPT)
def _file_sha256(root: Path, file: str, state: State) -> str:
    return _digest(root, file, hashlib.sha256)


def _digest(root: Path, file: str, algorithm: Any) -> str:
    with open_plain(root, file) as descriptor, os.fdopen(os.dup(descriptor), "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _state(descriptor: int) -> State:
    """Return the size, the modification time, the change time and the inode number of a file.

    At least one of these numbers changes if the file changes, so they are keys of the caches.
    """
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
    """Map an array into memory: from the .npy file itself, or from the copy of an .npz array.

    stored: the description of the array.
    file_state: the result of `_state` for the array file. If the file has changed, `file_state`
    differs from the earlier calls, so no cached result is returned.
    state: the folder for copies of the arrays of an .npz.
    """
    if stored.member is None:
        with _open(root, stored.file) as stream:
            shape, fortran, dtype = _read_header(stream)
            order = "F" if fortran else "C"
            return np.memmap(stream, dtype, "r", stream.tell(), shape, order)  # type: ignore[call-overload, no-any-return]
    # The name of an array may be invalid as a file name. So the name of the copy is a hash.
    name = hashlib.sha256(stored.member.encode()).hexdigest()[:16]
    copies = state / "arrays" / stored.file
    copy = copies / _file_sha256(root, stored.file, file_state) / f"{name}.npy"
    if not copy.is_file():
        _drop_others(copies, copy.parent)
        _unpack(root, stored, copy)
    array: Array = np.load(copy, mmap_mode="r", allow_pickle=False)
    return array


def _drop_others(copies: Path, current: Path) -> None:
    """Remove the copies of earlier versions of an .npz.

    copies: the folder with one subfolder for each version of the .npz.
    current: the subfolder that is not removed.
    """
    for folder in set(copies.glob("*")) - {current}:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(root: Path, stored: Stored, copy: Path) -> None:
    """Copy an array of an .npz to the .npy file `copy`.

    In an .npz, an array is stored as a complete .npy file, so its bytes are copied unchanged.
    Raises UserError if the disk has too few free bytes, or if the .npz is damaged.
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    needed = prod(stored.shape) * stored.dtype.itemsize
    free = shutil.disk_usage(copy.parent).free
    if needed > free:
        raise UserError(
            f"{stored.path} needs {needed:,} bytes of disk space for a copy below {copy.parent}; "
            f"free some disk space. Received: {free:,} bytes free"
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
    """Open an array file for reading.

    Any exception in the `with` block is converted to UserError, except a Fault. The reason is that
    NumPy and zipfile raise many types of exceptions for bad bytes. The Faults of `open_plain` are
    also raised.
    """
    with open_plain(root, file) as descriptor, os.fdopen(os.dup(descriptor), "rb") as stream:
        try:
            yield stream
        except (UserError, Fault):
            raise
        except Exception as error:  # bad bytes cause many types of exceptions
            problem = one_line(f"{type(error).__name__}: {error}")
            raise UserError(
                f"{root / file} is not a valid array file; restore it or write it again. "
                f"Received: {problem}"
            ) from None


@contextmanager
def _open_array(stream: IO[bytes], member: str | None) -> Iterator[IO[bytes]]:
    """Yield a stream with the bytes of a .npy file.

    stream: an open .npy or .npz file.
    member: the name of an array in the .npz. If None, the stream itself is the .npy file.
    """
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
            f"{name} in {file} would have {info.file_size:,} bytes after unpacking, which is more "
            f"than the maximum of {MAX_UNPACKED_BYTES:,} bytes or more than {MAX_RATIO} times its "
            f"packed size; save it with np.savez, without compression. "
            f"Received: {info.compress_size:,} bytes packed"
        )
    with archive.open(info) as array:
        return _describe(array, file, name, info.file_size)


def _describe(stream: IO[bytes], file: str, member: str | None, size: int) -> Stored:
    """Read the header of a .npy file and return the description of its array.

    stream: the bytes of the .npy file.
    file, member: the file and the name of the array, for the description.
    size: the number of bytes of the .npy file, including its header.

    Raises UserError if the size that the header announces differs from `size`, or if the array
    contains Python objects.
    """
    shape, _, dtype = _read_header(stream)
    where = f"{member} in {file}" if member else file
    if dtype.hasobject:
        raise UserError(
            f"{where} contains Python objects, and pickles are not read, because they can run "
            f"code; save pictures as uint8 and labels as integers or text. Received: dtype {dtype}"
        )
    promised = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size - stream.tell() != promised:
        raise UserError(
            f"{where} is cut off or damaged, because its header announces {promised:,} bytes of "
            f"values; write it again. Received: {size - stream.tell():,} bytes"
        )
    return Stored(file, member, shape, dtype)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape of an array, whether its values are in Fortran order, and its dtype.

    Afterwards, the position of the stream is at the first value of the array.
    """
    read = (
        npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    )
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(stream)
    return header
