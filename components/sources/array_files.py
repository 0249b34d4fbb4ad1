"""A .npy or .npz file → the arrays in it, as a whole or one element at a time; never a pickle.

From an array that is stored plainly (.npy, and .npz as `np.savez` writes it) single elements are
read from the file. A packed one (`np.savez_compressed`) is loaded once, as a whole, and kept.
"""

import hashlib
import os
import struct
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

from components.errors import UserError
from components.images.formats import Fault
from components.sources.tree import opened

Array = NDArray[Any]
State = tuple[int, int, int, int]

# A packed array is unpacked into memory, so there is an end to it; a plain one may have any size.
MAX_UNPACKED_BYTES = 2 * 2**30
# Blank pictures pack well, but beyond both of these an array is a bomb.
MAX_RATIO, RATIO_FROM_BYTES = 200, 100 * 2**20
KEPT = 3  # packed arrays in memory at a time: train, val and test
LOCK = threading.Lock()


@dataclass(frozen=True)
class Stored:
    """An array in a file, not read yet.

    member: its name in an .npz, None in an .npy. start: where its values begin in the file, in C
    order; None where they are packed or in another order.
    """

    file: str
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int | None

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

    Sizes in the headers are held against the sizes in the file before any value is read.
    Raises UserError where the file is damaged, holds pickles or would unpack to too much; Fault as
    `opened` does.
    """
    with opened(root, file) as descriptor, LOCK:
        return _stored_arrays(root, file, _state(descriptor))


def values(root: Path, stored: Stored) -> Array:
    """Return all of an array. Raises UserError where the file is damaged."""
    with opened(root, stored.file) as descriptor, LOCK:
        return _loaded(root, stored, _state(descriptor))


def element(root: Path, stored: Stored, number: int) -> bytes:
    """Return the bytes of one element, in C order.

    Raises Fault where the file has become shorter meanwhile, and as `opened` does.
    """
    if stored.start is None:
        whole: bytes = values(root, stored)[number].tobytes()
        return whole
    size = stored.element_bytes
    with opened(root, stored.file) as descriptor:
        found = os.pread(descriptor, size, stored.start + number * size)
    if len(found) < size:
        raise Fault("unreadable", f"{stored.file} has become shorter")
    return found


@lru_cache(maxsize=KEPT)
def file_md5(root: Path, file: str, state: tuple[int, ...]) -> str:
    """Return the md5 (hex) of a whole file below root, as DVC names files. Raises as `opened`.

    state: what is known to change whenever the file does; the same file is not read twice.
    """
    with opened(root, file) as descriptor, os.fdopen(os.dup(descriptor), "rb") as stream:
        return hashlib.file_digest(stream, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _state(descriptor: int) -> State:
    """Return what changes whenever the file does, so that nothing outdated is kept."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@lru_cache(maxsize=KEPT)
def _stored_arrays(root: Path, file: str, state: State) -> Mapping[str | None, Stored]:
    with _opened(root, file) as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            found = _header(stream, file, None, state[0])
            return {None: found}
        with zipfile.ZipFile(stream) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            return {info.filename[:-4]: _member(stream, archive, info, file) for info in members}


@lru_cache(maxsize=KEPT)
def _loaded(root: Path, stored: Stored, state: State) -> Array:
    with _opened(root, stored.file) as stream:
        if stored.member is None:
            return npy.read_array(stream, allow_pickle=False)
        with zipfile.ZipFile(stream) as archive, archive.open(f"{stored.member}.npy") as inner:
            return npy.read_array(inner, allow_pickle=False)


@contextmanager
def _opened(root: Path, file: str) -> Iterator[IO[bytes]]:
    """Open an array file; whatever NumPy or zipfile say of a bad one becomes one sentence."""
    with opened(root, file) as descriptor, os.fdopen(os.dup(descriptor), "rb") as stream:
        try:
            yield stream
        except (UserError, Fault):
            raise
        except Exception as error:  # bad bytes make them raise a dozen unrelated types
            problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UserError(
                f"{root / file} is not a sound array file; bring it back or write it anew. "
                f"Received: {problem}"
            ) from None


def _member(
    stream: IO[bytes], archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: str
) -> Stored:
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
    with archive.open(info) as inner:
        found = _header(inner, file, name, info.file_size)
    if packed or found.start is None:
        return Stored(file, name, found.shape, found.dtype, None)
    stream.seek(
        info.header_offset + 26
    )  # where a zip's local header has two lengths (APPNOTE 4.3.7)
    lengths = struct.unpack("<HH", stream.read(4))
    start = info.header_offset + 30 + sum(lengths) + found.start
    return Stored(file, name, found.shape, found.dtype, start)


def _header(stream: IO[bytes], file: str, member: str | None, size: int) -> Stored:
    """Read the head of a .npy and hold what it promises against the `size` of all, in bytes."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    where = f"{member} in {file}" if member else file
    if dtype.hasobject:
        raise UserError(
            f"{where} holds Python objects, and pickles are not read, since they can run code; "
            f"save pictures as uint8 and labels as integers or text. Received: dtype {dtype}"
        )
    start = stream.tell()
    promised = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size - start != promised:
        raise UserError(
            f"{where} is cut or damaged: its header promises {promised:,} bytes of values; write "
            f"it anew. Received: {size - start:,}"
        )
    return Stored(file, member, shape, dtype, None if fortran else start)
