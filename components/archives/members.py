"""A zip or tar → its members one after the other: name, size and a way to read the bytes.

What is no plain file or folder is refused here, and no more of a tar is held in memory than one
header, however large the archive says that it is.
"""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

CHUNK = 2**20  # bytes
# Between two files of a tar: headers, padding. Python reads a header whole, so this bounds memory.
HEADER_BYTES = 2**17
TAR_BLOCK = 512
COMPRESSIONS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class RefusedError(Exception):
    """Why an archive is not unpacked and what to do; ends with the name or number that shows it."""


@dataclass(frozen=True)
class Member:
    """One file of an archive; `size` is what the archive says, in bytes."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def zip_members(file: IO[bytes]) -> Iterator[Member | None]:
    """Yield the files of a zip, and None for each folder. Raises RefusedError."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name, mode = _zip_name(info), info.external_attr >> 16
            if "\0" in info.orig_filename:
                raise RefusedError(f"a name with a NUL. Received: {info.orig_filename!r}")
            if info.flag_bits & 1:
                raise RefusedError(f"it is encrypted; unpack it yourself. Received: {name!r}")
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise RefusedError(f"a link or device; only files are taken. Received: {name!r}")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Python decompresses the others without a bound on memory.
                method = f"compression method {info.compress_type}"
                raise RefusedError(f"{method}; repack it with deflate. Received: {name!r}")
            opened = partial(archive.open, info)
            yield None if info.is_dir() else Member(name, info.file_size, opened)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name as it was meant: many tools write UTF-8 without the flag that says so.

    Else it is code page 437, as the format says (APPNOTE.TXT, appendix D).
    """
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def tar_members(file: IO[bytes]) -> Iterator[Member | None]:
    """Yield the files of a tar, None for a folder; each must be read before the next is asked for.

    Raises RefusedError, or EOFError where the end is missing.
    """
    stream = _TarStream(_decompressed(file))
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8") as archive:
        for info in archive:
            if not info.isdir() and (not info.isreg() or info.issparse()):
                raise RefusedError(
                    f"a link, device or sparse file; only files are taken. Received: {info.name!r}"
                )
            stream.left = HEADER_BYTES + (info.size if info.isreg() else 0)
            yield None if info.isdir() else Member(info.name, info.size, _reader(archive, info))
            stream.left = HEADER_BYTES
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps every header
    stream.finish()


def _reader(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    return lambda: archive.extractfile(info) or io.BytesIO()


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    start = file.read(max(map(len, COMPRESSIONS)))
    file.seek(0)
    for magic, opened in COMPRESSIONS.items():
        if start.startswith(magic):
            return opened(file)  # type: ignore[no-any-return]
    return file


class _TarStream(io.RawIOBase):
    """The bytes of a tar, of which no more than `left` may come before somebody allows more."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self.left = HEADER_BYTES
        self._file, self._tail = file, b""

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes. Raises RefusedError where too many come between two files."""
        chunk = self._file.read(size)
        self.left -= len(chunk)
        if self.left < 0:
            raise RefusedError(f"more than {HEADER_BYTES:,} bytes between two files")
        self._tail = (self._tail + chunk)[-TAR_BLOCK:]
        return chunk

    def finish(self) -> None:
        """Read on to the end, where checksums are; tarfile takes a cut-off tar for a whole one."""
        self.left = max(self.left, HEADER_BYTES)
        while self.read(CHUNK):
            pass
        if self._tail != bytes(TAR_BLOCK):
            raise EOFError("its end is missing")
