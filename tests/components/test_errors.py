"""Errors of a disk and of rights → one sentence with what to do; other errors stay as they are."""

import errno
from pathlib import Path

import pytest

from components.errors import UserError, disk_errors


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_sentence() -> None:
    with (
        pytest.raises(UserError, match=r"^the disk is full; free some space.* Received: No space"),
        disk_errors(),
        Path("/dev/full").open("wb", buffering=0) as file,
    ):
        file.write(b"x")


@pytest.mark.parametrize(
    ("number", "start"),
    [
        (errno.EACCES, "you may not use this file"),
        (errno.EROFS, "the disk is read-only"),
        (errno.ENAMETOOLONG, "the name of a file is too long"),
    ],
)
def test_missing_rights_and_a_read_only_disk_name_the_file(number: int, start: str) -> None:
    with pytest.raises(UserError) as caught, disk_errors():
        raise OSError(number, "the reason", "data/ingest")
    assert str(caught.value).startswith(start)
    assert str(caught.value).endswith("Received: the reason: data/ingest")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(FileNotFoundError), disk_errors():
        Path("missing").read_bytes()
