"""An archive (zip, or tar, also with gz, bz2 or xz) → its plain files below a folder, no others.

One loop counts members and bytes against the limits before anything of a member is written, and
checks its name. An archive inside of an archive is a plain file. What `extractall` lets pass, even
with its `data` filter, is in docs/decisions/archives-by-hand.md.
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
# Linux and macOS have no longer names.
NAME_BYTES = 255
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
    """What an archive may unpack to. The room on the disk is the nearer bound for most archives."""

    members: int  # files and folders
    member_bytes: int
    total_bytes: int
    # Images hardly shrink; BMP, .npy and tables do, five- to fiftyfold; the most of zip is 1,032.
    ratio: int  # total bytes to those of the archive
    free_bytes: int  # up to which the ratio does not matter: a few empty masks are no bomb


LIMITS = Limits(
    members=2_000_000,  # ImageNet has 1.4 million
    member_bytes=2**36,  # 64 GiB: one array file that still fits the memory of a large machine
    total_bytes=2**41,  # 2 TiB
    ratio=100,
    free_bytes=2**28,
)


@dataclass(frozen=True)
class Unpacked:
    """The files below the folder, and the names of those that are no part of a data set."""

    sums: dict[str, str]  # POSIX path → sha256 of the bytes as they came out of the archive
    skipped: tuple[str, ...]


def is_archive(path: Path) -> bool:
    """Return whether `path` is to be unpacked, by its name; an .npz, which is a zip, is not.

    Raises UserError for archives of other kinds.
    """
    if not ARCHIVE.search(path.name) and OTHER_ARCHIVE.search(path.name):
        raise UserError(
            "only zip and tar (plain, gz, bz2, xz) are unpacked; unpack others yourself and add "
            f"the folder. Received: {path}"
        )
    return ARCHIVE.search(path.name) is not None


def announced_bytes(archive: Path) -> int:
    """Return at least how many bytes the archive says it unpacks to, found without unpacking."""
    if not _is_zip(archive):
        return archive.stat().st_size
    with _as_user_error(archive), zipfile.ZipFile(archive) as members:
        return sum(info.file_size for info in members.infolist())


def unpack(archive: Path, folder: Path, limits: Limits = LIMITS) -> Unpacked:
    """Write the archive's files below `folder`, which must be empty.

    Raises UserError for an archive that is damaged, encrypted, too large or too new, or holds a
    name that is no plain path, a name twice, or anything but files and folders. Then files may be
    left.
    """
    size = archive.stat().st_size
    sums: dict[str, str] = {}
    skipped: list[str] = []
    with _as_user_error(archive), archive.open("rb") as file:
        members = zip_members(file) if _is_zip(archive) else tar_members(file)
        work = _write_files(_count(members, limits, size), folder, sums, skipped)
        steps = _mebibytes(file, size, work)
        for _ in track(steps, f"unpack {archive.name}: MiB", total=_steps(size)):
            pass
    return Unpacked(sums, tuple(skipped))


def _count(members: Iterable[Member], limits: Limits, size: int) -> Iterator[Member]:
    """Yield the members of an archive of `size` bytes. Raises RefusedError at the first limit."""
    room = min(limits.total_bytes, max(limits.free_bytes, limits.ratio * size))
    for number, member in enumerate(members, start=1):
        room -= member.size
        if number > limits.members:
            raise RefusedError(f"more files than the {limits.members:,} that are allowed")
        if member.size > limits.member_bytes or room < 0:
            raise RefusedError(
                "it unpacks to far more than its size, or than there is room for; unpack it "
                f"yourself if you trust it, and add the folder. Received: {member.name}"
            )
        yield member


def _write_files(
    members: Iterable[Member], folder: Path, sums: dict[str, str], skipped: list[str]
) -> Iterator[None]:
    """Write file after file, noting the sums of those written and the names of junk."""
    for member in members:
        if not member.is_folder:
            name = _plain_name(member.name)
            if name in sums:
                raise RefusedError(f"the same name twice; repack it. Received: {name!r}")
            if is_junk(name):
                skipped.append(name)
            else:
                sums[name] = _write(member, folder / name)
        yield


def _write(member: Member, path: Path) -> str:
    """Write one file and return its sha256 (hex)."""
    digest, count = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise RefusedError(
            "a file and a folder have one name, or two files differ in upper and lower case only, "
            f"which are the same on this disk; rename one. Received: {member.name!r}"
        ) from None
    with file, member.open() as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            count += len(chunk)
    if count != member.size:
        raise EOFError(f"{member.name!r} has {count} bytes, and {member.size} are announced")
    return digest.hexdigest()


def _plain_name(name: str) -> str:
    """Return the name as a plain relative POSIX path. Raises RefusedError where it is none."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or re.match("[A-Za-z]:", name):
        raise RefusedError(f"a name that may lead out of the folder. Received: {name!r}")
    try:
        longest = max((len(part.encode()) for part in path.parts), default=0)
    except UnicodeError:
        raise RefusedError(f"a name that is not UTF-8; repack it. Received: {name!r}") from None
    if not 0 < longest <= NAME_BYTES or "\0" in name:
        raise RefusedError(f"a name that is empty, too long or has a NUL. Received: {name!r}")
    return str(path)


@contextmanager
def _as_user_error(archive: Path) -> Iterator[None]:
    """Raise UserError for what is wrong with the archive; errors of the disk pass through."""
    try:
        yield
    except RefusedError as error:
        received = "" if "Received:" in str(error) else f". Received: {archive.name}"
        raise UserError(f"{archive} is not unpacked: {error}{received}") from None
    except NotImplementedError as error:
        raise UserError(
            f"{archive} is not unpacked: it needs what few programs read; unpack it with the one "
            f"that made it, and add the folder. Received: {error}"
        ) from None
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and not _is_damage(error):
            raise  # a full disk, for example
        raise UserError(
            f"{archive} is damaged, or not what its name says; fetch it again. Received: {error}"
        ) from None


def _is_damage(error: OSError) -> bool:
    """Return whether an error is about the archive's bytes, not about the disk or our own files.

    bz2 and gzip raise OSErrors without a number; EINVAL is a place before the start of the file. An
    error with a file name is about a file that was to be written.
    """
    return error.errno is None or (error.errno == errno.EINVAL and error.filename is None)


def _is_zip(archive: Path) -> bool:
    return archive.suffix.lower() == ".zip"


def _steps(size: int) -> int:
    return max(1, size // CHUNK)


def _mebibytes(file: IO[bytes], size: int, work: Iterable[None]) -> Iterator[int]:
    """Do the work, and yield once for each mebibyte of the archive that has been read."""
    done, steps = 0, _steps(size)
    for _ in work:
        now = min(file.tell() // CHUNK, steps)
        yield from range(done, now)
        done = max(done, now)
    yield from range(done, steps)
