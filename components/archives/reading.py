"""A zip or a tar → the names and bytes of its files, one by one; nothing is written."""

import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path

from components.archives.members import tar_members, zip_members
from components.archives.unpacking import (
    BROKEN,
    LIMITS,
    Limits,
    as_user_error,
    is_zip,
    within_limits,
)
from components.sources.listing import is_junk
from components.words import count_text

log = logging.getLogger(__name__)


def read_files(
    archive: Path, max_bytes: int, limits: Limits = LIMITS
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file of the archive. Nothing is written.

    max_bytes: of a larger file, the first max_bytes + 1 bytes are yielded, so the caller notices.
    Hidden files, and files that a file browser made, are left out. Names are yielded as they are,
    since no file gets them.

    Raises UserError in the same cases as `unpack`, but for names, when it comes to the member. The
    files before it have been yielded then.
    """
    size, hidden = archive.stat().st_size, 0
    with as_user_error(archive), archive.open("rb") as file:
        members = zip_members(file) if is_zip(archive) else tar_members(file)
        for member in within_limits(members, limits, size):
            if member.is_folder:
                continue
            if _is_hidden(member.name):
                hidden += 1
                continue
            with member.open() as content:
                data = content.read(max_bytes + 1)
            if len(data) < min(member.size, max_bytes + 1):
                raise EOFError(f"{member.name!r} has fewer bytes than its header announces")
            yield member.name, data
    if hidden:
        files = count_text(hidden, "hidden file is", "hidden files are")
        log.info(f"{archive}: {files} left out")


def count_files(archive: Path) -> int | None:
    """Return the number of files that `read_files` yields; None if only reading it would tell."""
    if not is_zip(archive):
        return None
    try:
        with zipfile.ZipFile(archive) as members:
            names = [info.filename for info in members.infolist()]
    except (*BROKEN, OSError, NotImplementedError):  # `read_files` says what is wrong
        return None
    return sum(not name.endswith("/") and not _is_hidden(name) for name in names)


def _is_hidden(name: str) -> bool:
    """Return whether `is_junk` is true for other parts of a name than `..`, which hides nothing."""
    return is_junk("/".join(part for part in name.split("/") if part != ".."))
