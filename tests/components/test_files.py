"""Written whole: the old file or the new one, never half of one."""

import pytest

from components.files import sha256, written_whole


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OSError, match="disk"), written_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("ne")
        raise OSError("disk full")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with written_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_folder_replaces_the_old_folder_as_a_whole(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "old.html").write_text("old")
    with written_whole(tmp_path / "docs") as temporary:
        temporary.mkdir()
        (temporary / "new.html").write_text("new")
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["new.html"]


def test_missing_folders_are_made(tmp_path):
    with written_whole(tmp_path / "a" / "b" / "c.txt") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf")
