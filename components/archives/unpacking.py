"""An archive (zip, or tar, also with gz, bz2 or xz) → its plain files below a folder, no others.

Nothing that an archive says of itself is believed: bytes are counted while they are unpacked, names
are checked before a file is made, and what is no plain file is refused. An archive inside of an
archive is a plain file. Python's own `extractall` checks less, and decompresses without end.
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
# Longer names cannot be written on Linux or macOS.
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
    """What an archive may unpack to. The room on the disk is the nearer bound for most."""

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
    """What lies below the folder now, and what was left out as no part of a data set."""

    sums: dict[str, str]  # POSIX path → sha256 of the bytes as they came out of the archive
    skipped: tuple[str, ...]


def is_archive(path: Path) -> bool:
    """Tell by its name whether `path` is to be unpacked; an .npz, which is a zip, is not.

    Raises UserError for archives of other kinds.
    """
    if not ARCHIVE.search(path.name) and OTHER_ARCHIVE.search(path.name):
        raise UserError(
            f"unpacked are zip and tar (plain, gz, bz2, xz); unpack others yourself and add the "
            f"folder. Received: {path}"
        )
    return ARCHIVE.search(path.name) is not None


def announced_bytes(archive: Path) -> int:
    """Return at least how many bytes the archive says it unpacks to, found without unpacking."""
    if not _is_zip(archive):
        return archive.stat().st_size
    with _one_sentence(archive), zipfile.ZipFile(archive) as opened:
        return sum(info.file_size for info in opened.infolist())


def unpack(archive: Path, folder: Path, limits: Limits = LIMITS) -> Unpacked:
    """Write the archive's files below `folder`, which must be empty.

    Raises UserError for an archive that is damaged, encrypted, too large or too new, or holds a
    name that is no plain path, a name twice, or anything but files and folders. Then files may be
    left.
    """
    size = archive.stat().st_size
    room = min(limits.total_bytes, max(limits.free_bytes, limits.ratio * size))
    writer = _Writer(folder, limits, room)
    with _one_sentence(archive), archive.open("rb") as file:
        members = zip_members(file) if _is_zip(archive) else tar_members(file)
        steps = _mebibytes(file, size, map(writer.write, members))
        for _ in track(steps, f"unpack {archive.name}: MiB", total=_steps(size)):
            pass
    return Unpacked(writer.sums, tuple(writer.skipped))


class _Writer:
    """Writes members below a folder, and counts what really comes out of them."""

    def __init__(self, folder: Path, limits: Limits, room: int) -> None:
        self.sums: dict[str, str] = {}
        self.skipped: list[str] = []
        self._folder, self._limits, self._room = folder, limits, room
        self._members = 0

    def write(self, member: Member | None) -> None:
        """Write one file; None stands for a folder, which counts but is not made."""
        self._members += 1
        if self._members > self._limits.members:
            raise RefusedError(f"more files than the {self._limits.members:,} that are allowed")
        if member is None:
            return
        name = _checked(member.name)
        if name in self.sums:
            raise RefusedError(f"the same name twice; repack it. Received: {name!r}")
        if is_junk(name):
            self.skipped.append(name)
            for _ in self._chunks(member):
                pass
            return
        self.sums[name] = self._digest(member, self._folder / name)

    def _digest(self, member: Member, path: Path) -> str:
        digest = hashlib.sha256()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("xb")
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            both = "stands for a file and a folder, or for two files where case does not count"
            raise RefusedError(f"a name that {both}. Received: {member.name!r}") from None
        with file:
            for chunk in self._chunks(member):
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    def _chunks(self, member: Member) -> Iterator[bytes]:
        count = 0
        with member.open() as file:
            while chunk := file.read(CHUNK):
                count += len(chunk)
                self._room -= len(chunk)
                if count > self._limits.member_bytes or self._room < 0:
                    raise RefusedError(
                        "it unpacks to far more than its size, or than there is room for; unpack "
                        f"it yourself if you trust it, and add the folder. Received: {member.name}"
                    )
                yield chunk
        if count != member.size:
            raise EOFError(f"{member.name!r} has {count} bytes, and {member.size} are announced")


def _checked(name: str) -> str:
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
def _one_sentence(archive: Path) -> Iterator[None]:
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
            raise  # a full disk and the like is no fault of the archive
        raise UserError(
            f"{archive} is damaged, or not what its name says; fetch it anew. Received: {error}"
        ) from None


def _is_damage(error: OSError) -> bool:
    """Tell bz2's and gzip's complaints, and a place before the start, from what the disk says.

    An error with a file name is about a file that we were to make.
    """
    return error.errno is None or (error.errno == errno.EINVAL and error.filename is None)


def _is_zip(archive: Path) -> bool:
    return archive.suffix.lower() == ".zip"


def _steps(size: int) -> int:
    return max(1, size // CHUNK)


def _mebibytes(file: IO[bytes], size: int, work: Iterable[None]) -> Iterator[int]:
    """Do the work, and yield once for each mebibyte of the archive that is behind us."""
    done, steps = 0, _steps(size)
    for _ in work:
        now = min(file.tell() // CHUNK, steps)
        yield from range(done, now)
        done = max(done, now)
    yield from range(done, steps)
