"""A zip or tar → its members, one by one: name, size and a function that opens the bytes.

Python's zipfile and tarfile read the archive. They return at most as many bytes of a member as its
header announces. So the sum of the announced sizes is an upper bound of the bytes to write. This
module refuses the other dangers: links, devices, encryption, and headers that fill the memory.
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
# The maximum number of bytes between two files of a tar: headers and padding. tarfile reads a whole
# header into memory, so this also limits the memory.
HEADER_BYTES = 2**17
TAR_BLOCK = 512
COMPRESSIONS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class RefusedError(Exception):
    """The reason why an archive is not unpacked.

    The text may say what to do, and may end with "Received:" and the name that caused the error.
    """


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive. A folder has no bytes.

    size: the size that the archive announces, in bytes.
    open: opens the bytes for reading. There may be fewer bytes than `size`, but never more.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    is_folder: bool


def zip_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the files and folders of a zip.

    Raises RefusedError for an encrypted file, a link, a device, a NUL in a name, or a compression
    other than deflate. Raises zipfile.BadZipFile if the zip is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = _zip_name(info)
            _check_zip_member(info, name)
            yield Member(name, info.file_size, partial(archive.open, info), info.is_dir())


def _check_zip_member(info: zipfile.ZipInfo, name: str) -> None:
    if "\0" in info.orig_filename:  # zipfile cuts the name at the NUL
        raise RefusedError(f"it holds a name with a NUL. Received: {info.orig_filename!r}")
    if info.flag_bits & 1:
        raise RefusedError(f"it is encrypted; unpack it yourself. Received: {name!r}")
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the writer stored no kind
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RefusedError(f"it holds a link or device, not only files. Received: {name!r}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Python decompresses other methods without a limit on memory.
        method = f"compression method {info.compress_type}"
        raise RefusedError(f"{method} is not supported; repack it with deflate. Received: {name!r}")


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member, decoded from UTF-8 if possible.

    Without the flag for UTF-8, a name is in code page 437 (APPNOTE.TXT, appendix D). But many tools
    write UTF-8 and do not set the flag. So code page 437 is only used if the name is not UTF-8.
    """
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def tar_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the files and folders of a tar. A file must be read before the next one is requested.

    Raises RefusedError for a link, a device, a sparse file, or more than HEADER_BYTES between two
    files. Raises EOFError if the end is missing, tarfile.TarError or an error of the decompression
    if the tar is damaged.
    """
    stream = _TarStream(_decompress(file))
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8") as archive:
        for info in archive:
            if not info.isdir() and (not info.isreg() or info.issparse()):
                raise RefusedError(
                    f"it holds a link, device or sparse file, not only plain files. "
                    f"Received: {info.name!r}"
                )
            size = info.size if info.isreg() else 0
            stream.left = HEADER_BYTES + size
            yield Member(info.name, size, partial(_open_tar_member, archive, info), info.isdir())
            stream.left = HEADER_BYTES
            archive.members.clear()  # type: ignore[attr-defined]  # else tarfile keeps all headers
    stream.finish()


def _open_tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return archive.extractfile(info) or io.BytesIO()


def _decompress(file: IO[bytes]) -> IO[bytes]:
    """Open a tar that may be compressed. tarfile also decompresses, but ignores gzip checksums."""
    start = file.read(max(map(len, COMPRESSIONS)))
    file.seek(0)
    for magic, open_packed in COMPRESSIONS.items():
        if start.startswith(magic):
            return open_packed(file)  # type: ignore[no-any-return]
    return file


class _TarStream(io.RawIOBase):
    """The bytes of a tar. At most `left` bytes may be read; the caller sets it for each file."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self.left = HEADER_BYTES
        self._file, self._tail = file, b""

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes. Raises RefusedError if more than `left` bytes are read."""
        chunk = self._file.read(size)
        self.left -= len(chunk)
        if self.left < 0:
            raise RefusedError(f"it has more than {HEADER_BYTES:,} bytes between two files")
        self._tail = (self._tail + chunk)[-TAR_BLOCK:]
        return chunk

    def finish(self) -> None:
        """Read to the end. Raises EOFError if the end is missing, which tarfile does not notice.

        The checksum of the compression is at the end, so this also checks it.
        """
        self.left = max(self.left, HEADER_BYTES)
        while self.read(CHUNK):
            pass
        if self._tail != bytes(TAR_BLOCK):
            raise EOFError("its end is missing")
