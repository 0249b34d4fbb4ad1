"""A zip or tar → its members one after the other: name, size and a way to read the bytes.

Python's zipfile and tarfile do the reading. They give no more bytes of a member than its header
announces, so the sum of the sizes bounds what will be written. The rest of what a hostile archive
may do is refused here: links, devices, encryption, headers that fill the memory.
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
    """A file of an archive, or a folder, which has no bytes.

    size: what the archive announces, in bytes; `open` gives no more, but may give less.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    is_folder: bool


def zip_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the files and folders of a zip. Raises RefusedError."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = _zip_name(info)
            _check_zip_member(info, name)
            yield Member(name, info.file_size, partial(archive.open, info), info.is_dir())


def _check_zip_member(info: zipfile.ZipInfo, name: str) -> None:
    if "\0" in info.orig_filename:  # zipfile ends the name there
        raise RefusedError(f"a name with a NUL. Received: {info.orig_filename!r}")
    if info.flag_bits & 1:
        raise RefusedError(f"it is encrypted; unpack it yourself. Received: {name!r}")
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the program that made it has no kinds
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RefusedError(f"a link or device; only files are taken. Received: {name!r}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Python decompresses the others without a bound on memory.
        method = f"compression method {info.compress_type}"
        raise RefusedError(f"{method}; repack it with deflate. Received: {name!r}")


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


def tar_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the files and folders of a tar; a file must be read before the next one is asked for.

    Raises RefusedError, or EOFError where the end is missing.
    """
    stream = _TarStream(_decompress(file))
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8") as archive:
        for info in archive:
            if not info.isdir() and (not info.isreg() or info.issparse()):
                raise RefusedError(
                    f"a link, device or sparse file; only files are taken. Received: {info.name!r}"
                )
            size = info.size if info.isreg() else 0
            stream.left = HEADER_BYTES + size
            yield Member(info.name, size, partial(_open_tar_member, archive, info), info.isdir())
            stream.left = HEADER_BYTES
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps every header
    stream.finish()


def _open_tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return archive.extractfile(info) or io.BytesIO()


def _decompress(file: IO[bytes]) -> IO[bytes]:
    """Open what the tar is packed in. tarfile does so, too, but skips the checksum of a gzip."""
    start = file.read(max(map(len, COMPRESSIONS)))
    file.seek(0)
    for magic, open_packed in COMPRESSIONS.items():
        if start.startswith(magic):
            return open_packed(file)  # type: ignore[no-any-return]
    return file


class _TarStream(io.RawIOBase):
    """The bytes of a tar, of which at most `left` may be read until `left` is set again."""

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
