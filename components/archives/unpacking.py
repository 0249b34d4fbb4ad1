"""A zip, or a tar (plain, gz, bz2 or xz) → its files, written below a folder.

A member is a file or folder in the archive. Before a member is written, its name is checked. The
number of members and the number of bytes are also compared with the limits. An archive inside the
archive is not unpacked; it is written as a file. Python's `extractall` is not used, because it
accepts dangerous archives, even with the argument `filter="data"`. The dangerous archives are
listed in docs/decisions/archives-by-hand.md.
"""

import errno
import hashlib
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from components.archives.members import (
    CHUNK,
    Member,
    RefusedError,
    tar_members,
    zip_members,
)
from components.errors import UserError
from components.progress import track
from components.sources.listing import is_junk

ARCHIVE = re.compile(r"\.(zip|tar|tar\.(gz|bz2|xz)|tgz|tbz2?|txz)$", re.IGNORECASE)
OTHER_ARCHIVE = re.compile(r"\.(7z|rar|zst|tzst|lz4?|gz|bz2|xz|cab|iso)$", re.IGNORECASE)
NAME_BYTES = 255  # the maximum length of the name of a file or folder on Linux and macOS
# The exceptions that the Python libraries raise if the bytes of an archive are damaged.
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    UnicodeError,
)


@dataclass(frozen=True)
class Limits:
    """The limits for unpacking one archive.

    members: the maximum number of files and folders.
    member_bytes: the maximum number of bytes of one file.
    total_bytes: the maximum number of bytes of all files together.
    ratio: the maximum ratio of the unpacked bytes to the bytes of the archive.
    free_bytes: the number of unpacked bytes up to which the ratio is not checked.
    """

    members: int
    member_bytes: int
    total_bytes: int
    # Compressed images have a ratio of about 1. BMP files, .npy files and tables have ratios of 5
    # to 50. The compression of a zip (deflate) cannot exceed a ratio of 1,032.
    ratio: int
    # A small archive may have a high ratio without being an attack. For example, a few empty masks
    # compress very well.
    free_bytes: int


LIMITS = Limits(
    members=2_000_000,  # ImageNet has 1.4 million
    member_bytes=2**36,  # 64 GiB, an array file that fits in the memory of a large machine
    total_bytes=2**41,  # 2 TiB
    ratio=100,
    free_bytes=2**28,
)


@dataclass(frozen=True)
class Unpacked:
    """The result of unpacking an archive.

    sums: POSIX path of a written file, relative to the folder → the sha256 (hex) of its bytes in
    the archive.
    skipped: the names of files that were not written. These files are hidden, or a file browser
    made them (such as Thumbs.db).
    """

    sums: dict[str, str]
    skipped: tuple[str, ...]


def is_archive(path: Path) -> bool:
    """Return whether the file has the file extension of a zip or tar.

    The result is False for an .npz, although an .npz is a zip. Raises UserError if the file has the
    extension of another kind of archive, such as .7z.
    """
    if not ARCHIVE.search(path.name) and OTHER_ARCHIVE.search(path.name):
        raise UserError(
            "only zip and tar (plain, gz, bz2, xz) can be unpacked; unpack any other archive "
            f"yourself, and add the folder. Received: {path}"
        )
    return ARCHIVE.search(path.name) is not None


def announced_bytes(archive: Path) -> int:
    """Return an estimate of the number of bytes after unpacking, without unpacking the archive.

    For a zip, the estimate is the sum of the sizes that it announces for its members. For a tar, it
    is the size of the archive file, even if this file is compressed.

    Raises UserError if a zip is damaged.
    """
    if not is_zip(archive):
        return archive.stat().st_size
    with as_user_error(archive), zipfile.ZipFile(archive) as members:
        return sum(info.file_size for info in members.infolist())


def unpack(archive: Path, folder: Path, limits: Limits = LIMITS) -> Unpacked:
    """Write the files of the archive below `folder`, which must be empty.

    Raises UserError if the archive is damaged, encrypted or too large, or if it needs a feature
    that Python does not support. Also raises UserError if the archive contains a link or a device,
    the same name twice, or a name that is not a relative path. Raises OSError if the disk is full
    or cannot be written. After an error, some files may remain in `folder`.
    """
    size = archive.stat().st_size
    sums: dict[str, str] = {}
    skipped: list[str] = []
    with as_user_error(archive), archive.open("rb") as file:
        members = zip_members(file) if is_zip(archive) else tar_members(file)
        work = _write_files(within_limits(members, limits, size), folder, sums, skipped)
        steps = _mebibytes(file, size, work)
        for _ in track(steps, f"unpack {archive.name} (MiB)", total=_steps(size)):
            pass
    return Unpacked(sums, tuple(skipped))


def within_limits(members: Iterable[Member], limits: Limits, size: int) -> Iterator[Member]:
    """Yield the members unchanged. Raises RefusedError if a limit is exceeded.

    size: the size of the archive file in bytes.
    """
    room = min(limits.total_bytes, max(limits.free_bytes, limits.ratio * size))
    for number, member in enumerate(members, start=1):
        room -= member.size
        if number > limits.members:
            raise RefusedError(
                f"it has more files and folders than the maximum of {limits.members:,}; unpack it "
                "yourself, and add the folder"
            )
        if member.size > limits.member_bytes or room < 0:
            raise RefusedError(
                "its files are far larger than the archive, or larger than the maximum; if you "
                "trust the archive, unpack it yourself, and add the folder. "
                f"Received: {member.name}"
            )
        yield member


def _write_files(
    members: Iterable[Member], folder: Path, sums: dict[str, str], skipped: list[str]
) -> Iterator[None]:
    """Write the members one by one. Yields after each member, so the caller can show progress.

    sums: POSIX path → sha256 (hex). The function adds an entry for each file that it writes.
    skipped: a list of names. The function adds the names of junk files (hidden files and files that
    a file browser made). Junk files are not written.

    Raises RefusedError if a name is not a relative path or occurs twice.
    """
    for member in members:
        if not member.is_folder:
            name = _plain_name(member.name)
            if name in sums:
                raise RefusedError(
                    f"it contains the same name twice; repack it. Received: {name!r}"
                )
            if is_junk(name):
                skipped.append(name)
            else:
                sums[name] = _write(member, folder / name)
        yield


def _write(member: Member, path: Path) -> str:
    """Write one file and return its sha256 (hex).

    Raises EOFError if the file has fewer bytes than its header announces. Raises RefusedError if
    another member already has the same path on this disk.
    """
    digest, count = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise RefusedError(
            "two of its members have the same path on this disk, because they are a file and a "
            "folder with the same name, or their names differ only in upper and lower case; rename "
            f"one and repack it. Received: {member.name!r}"
        ) from None
    with file, member.open() as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            count += len(chunk)
    if count != member.size:
        raise EOFError(f"{member.name!r} has {count} bytes, but its header announces {member.size}")
    return digest.hexdigest()


def _plain_name(name: str) -> str:
    """Return a name as a relative POSIX path. Raises RefusedError if this is not possible."""
    path = PurePosixPath(name)
    if "\\" in name:
        raise RefusedError(
            "it contains a name with a backslash, which separates folders on Windows, but is part "
            "of a name on other systems; repack it with slashes between folders. "
            f"Received: {name!r}"
        )
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        raise RefusedError(
            f"it contains a path that may lead out of the folder; repack it. Received: {name!r}"
        )
    try:
        longest = max((len(part.encode()) for part in path.parts), default=0)
    except UnicodeError:
        raise RefusedError(
            f"it contains a name that is not UTF-8; repack it. Received: {name!r}"
        ) from None
    if not 0 < longest <= NAME_BYTES or "\0" in name:
        raise RefusedError(
            "it contains a name that is empty, is too long, or has a NUL character; repack it. "
            f"Received: {name!r}"
        )
    return str(path)


@contextmanager
def as_user_error(archive: Path) -> Iterator[None]:
    """Convert an error about the archive to UserError. Errors of the disk are raised unchanged."""
    try:
        yield
    except RefusedError as error:
        received = "" if "Received:" in str(error) else f". Received: {archive.name}"
        raise UserError(f"{archive} is not unpacked: {error}{received}") from None
    except NotImplementedError as error:
        raise UserError(
            f"{archive} is not unpacked: it needs an unsupported feature; unpack it with the "
            f"program that made it, and add the folder. Received: {error}"
        ) from None
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and not _is_damage(error):
            raise  # a full disk, for example
        raise UserError(
            f"{archive} is damaged, or not what its name says; download or copy it again. "
            f"Received: {error}"
        ) from None


def _is_damage(error: OSError) -> bool:
    """Return whether an error is about the bytes of the archive, not about the disk.

    For bad bytes, bz2 and gzip raise an OSError without an error number. If a zip refers to an
    offset before its first byte, zipfile causes an OSError with the number EINVAL and without a
    file name. An OSError with a file name is about a file that could not be opened or written.
    """
    return error.errno is None or (error.errno == errno.EINVAL and error.filename is None)


def is_zip(archive: Path) -> bool:
    """Return whether the name of an archive says that it is a zip."""
    return archive.suffix.lower() == ".zip"


def _steps(size: int) -> int:
    return max(1, size // CHUNK)


def _mebibytes(file: IO[bytes], size: int, work: Iterable[None]) -> Iterator[int]:
    """Unpack the archive. Yield once for each mebibyte of the archive file that was read.

    file: the open archive file.
    size: the size of the archive file in bytes.
    work: an iterator that unpacks the next member at each step.
    """
    done, steps = 0, _steps(size)
    for _ in work:
        now = min(file.tell() // CHUNK, steps)
        yield from range(done, now)
        done = max(done, now)
    yield from range(done, steps)
