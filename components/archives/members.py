"""A zip or tar → its members (files and folders), one by one, with their names, sizes and bytes.

Python's zipfile and tarfile read the archive. The header of a member announces the size of the
member. zipfile and tarfile never return more bytes than the announced size. So at most the sum of
the announced sizes is written to the disk. This module raises RefusedError for an archive with a
link, a device, an encrypted file, or headers that would fill the memory.
"""

import bz2
import gzip
import io
import logging
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from components.words import count_text, printable

log = logging.getLogger(__name__)

CHUNK = 2**20  # the number of bytes that are read at once
# The maximum number of bytes between the contents of two files of a tar. These bytes are headers
# and padding. The maximum also limits the memory, because tarfile reads a whole header into memory.
HEADER_BYTES = 2**17
# The systems in whose file names a backslash separates folders, as a zip numbers them (APPNOTE.TXT,
# 4.4.2): MS-DOS (also all Windows programs), OS/2, NTFS and VFAT.
WINDOWS = frozenset({0, 6, 10, 14})
UTF8_FLAG = 0x800  # the flag of a member whose name is in UTF-8 (APPNOTE.TXT, 4.4.4)
TAR_BLOCK = 512  # a tar consists of blocks of this number of bytes
# The first bytes of a compressed tar → the function that opens it.
COMPRESSIONS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class RefusedError(Exception):
    """Raised if an archive must not be unpacked. The text of the error says why.

    The text may also say what the user can do. The text may end with "Received:" and the name of
    the member that caused the error.
    """


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive. A folder has no bytes.

    name: the path of the member in the archive.
    size: the size that the archive announces for the file, in bytes.
    open: a function that opens the bytes of the file for reading. The file has at most `size`
    bytes. If the archive is damaged, the file may have fewer bytes.
    is_folder: whether the member is a folder.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    is_folder: bool


def zip_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the files and folders of a zip.

    Raises RefusedError for an encrypted file, a link, a device, a NUL in a name, a backslash in a
    name of an unknown encoding, or a compression other than deflate. Raises zipfile.BadZipFile if
    the zip is damaged, and NotImplementedError if the zip needs a newer version of the format than
    zipfile supports.
    """
    with zipfile.ZipFile(file) as archive:
        guessed: list[str] = []
        for info in archive.infolist():
            name = _zip_name(info)
            _check_zip_member(info, name)
            guessed += [name] * (not _is_utf8(info))
            yield Member(name, info.file_size, partial(archive.open, info), name.endswith("/"))
    if guessed:
        log.warning(
            f"{count_text(len(guessed), 'name of the zip is', 'names of the zip are')} not in "
            f"UTF-8 and may look wrong, such as {printable(guessed[0])}; if so, remove these files "
            "from data/raw, and add them from a zip with names in UTF-8"
        )


def _check_zip_member(info: zipfile.ZipInfo, name: str) -> None:
    if "\0" in info.orig_filename:  # zipfile removes the NUL and the rest of the name
        raise RefusedError(
            f"a name in it contains a NUL character; repack it. Received: {info.orig_filename!r}"
        )
    if info.flag_bits & 1:
        raise RefusedError(
            f"it is encrypted; unpack it yourself, and add the folder. Received: {name!r}"
        )
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the zip does not say what the member is
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RefusedError(
            f"it contains a link or a device; repack it with only files and folders. "
            f"Received: {name!r}"
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # With other compression methods, zipfile decompresses without a limit on memory.
        method = f"compression method {info.compress_type}"
        raise RefusedError(f"{method} is not supported; repack it with deflate. Received: {name!r}")


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member, decoded from UTF-8 if possible, with slashes between folders.

    If the UTF-8 flag of a member is not set, its name is in code page 437 according to the standard
    (APPNOTE.TXT, appendix D). But many programs write UTF-8 without setting the flag. So code page
    437 is only used if the bytes of the name are not valid UTF-8.

    The standard asks for slashes, but older Windows programs write backslashes. No file name of
    Windows contains a backslash, so it separates folders if the zip was made on Windows.

    Raises RefusedError if a name that is not UTF-8 contains a backslash. In encodings such as
    Shift-JIS, the byte of the backslash may also be the second half of a letter.
    """
    name = info.filename
    if not _is_utf8(info):
        if "\\" in name:
            raise RefusedError(
                "it contains a name with a backslash that is not UTF-8, so it is unknown whether "
                "the backslash separates folders; repack it with a program that writes UTF-8 "
                f"names. Received: {name!r}"
            )
    elif not info.flag_bits & UTF8_FLAG:
        name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/") if info.create_system in WINDOWS else name


def _is_utf8(info: zipfile.ZipInfo) -> bool:
    """Return whether the bytes of a member's name are valid UTF-8, with or without the flag."""
    if not info.flag_bits & UTF8_FLAG:
        try:
            info.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            return False
    return True


def tar_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the files and folders of a tar.

    The caller must read the bytes that it needs of a file before it asks for the next member.

    Raises RefusedError for a link, a device, a sparse file, or more than HEADER_BYTES bytes between
    two files. Raises EOFError if the end of the tar is missing. If the tar is damaged, raises
    tarfile.TarError or an error of gzip, bz2 or lzma.
    """
    stream = _TarStream(_decompress(file))
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8") as archive:
        for info in archive:
            if not info.isdir() and (not info.isreg() or info.issparse()):
                raise RefusedError(
                    f"it contains a link, a device or a sparse file; repack it with only plain "
                    f"files and folders. Received: {info.name!r}"
                )
            size = info.size if info.isreg() else 0
            stream.left = HEADER_BYTES + size
            yield Member(info.name, size, partial(_open_tar_member, archive, info), info.isdir())
            if info.isreg():
                # What the caller has left out is skipped before the bytes of headers are counted.
                archive.fileobj.seek(info.offset_data + size)
            stream.left = HEADER_BYTES
            archive.members.clear()  # type: ignore[attr-defined]  # to free the memory of the headers
    stream.finish()


def _open_tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return archive.extractfile(info) or io.BytesIO()


def _decompress(file: IO[bytes]) -> IO[bytes]:
    """Return a stream of the bytes of a tar. If the tar is compressed, decompress it.

    tarfile could also decompress the tar, but tarfile ignores the checksum of gzip.
    """
    start = file.read(max(map(len, COMPRESSIONS)))
    file.seek(0)
    for magic, open_packed in COMPRESSIONS.items():
        if start.startswith(magic):
            return open_packed(file)  # type: ignore[no-any-return]
    return file


class _TarStream(io.RawIOBase):
    """The stream of the bytes of a tar. The stream limits how many bytes are read.

    left: the number of bytes that may still be read. `tar_members` sets `left` before and after
    each file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self.left = HEADER_BYTES
        self._file, self._tail = file, b""

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes; -1 reads all bytes.

        Raises RefusedError if `left` becomes negative.
        """
        chunk = self._file.read(size)
        self.left -= len(chunk)
        if self.left < 0:
            raise RefusedError(
                f"it has more than {HEADER_BYTES:,} bytes between two files; repack it"
            )
        self._tail = (self._tail + chunk)[-TAR_BLOCK:]
        return chunk

    def finish(self) -> None:
        """Read the rest of the stream. Raises EOFError if the end of the tar is missing.

        The last block of a complete tar contains only zero bytes. tarfile does not check the last
        block, so it is checked here. A gzip, bz2 or xz file has a checksum at its end. gzip, bz2
        and lzma compare the checksum when the end is read. Raises RefusedError if the rest is
        larger than HEADER_BYTES.
        """
        self.left = max(self.left, HEADER_BYTES)
        while self.read(CHUNK):
            pass
        if self._tail != bytes(TAR_BLOCK):
            raise EOFError("the end of the tar is missing")
