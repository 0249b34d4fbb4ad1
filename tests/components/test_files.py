"""Written whole: the old file or the new one, never half of one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.files import is_alive, sha256, write_whole


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OSError, match="disk"), write_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("ne")
        raise OSError("disk full")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_an_error_of_a_full_disk_names_the_file(tmp_path):
    file = tmp_path / "a.txt"
    with (
        pytest.raises(OSError, match="No space left") as caught,
        write_whole(file),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"new")
    assert caught.value.filename == str(file)


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with write_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_folder_replaces_the_old_folder_as_a_whole(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "old.html").write_text("old")
    with write_whole(tmp_path / "docs") as temporary:
        temporary.mkdir()
        (temporary / "new.html").write_text("new")
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["new.html"]


def test_missing_folders_are_made(tmp_path):
    with write_whole(tmp_path / "a" / "b" / "c.txt") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


@pytest.fixture
def dead():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path):
    code = (
        "import os, pathlib, signal\n"
        "from components.files import write_whole\n"
        "with write_whole(pathlib.Path('a.txt')) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    assert len(names(tmp_path)) == 1
    with write_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["a.txt"]


def test_only_what_is_dead_and_has_this_name_is_removed(tmp_path, dead):
    (tmp_path / f".a.txt.{dead}.part").mkdir()
    (tmp_path / f".a.txt.{dead}.part.keras").touch()
    kept = [f".a.txt.{os.getppid()}.part", f".b.txt.{dead}.part", ".a.txt.mine.part"]
    for name in kept:
        (tmp_path / name).touch()
    with write_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == sorted([*kept, "a.txt"])


def test_a_leftover_under_our_own_number_is_not_taken_for_ours(tmp_path):
    (tmp_path / f".docs.{os.getpid()}.part").mkdir()
    with write_whole(tmp_path / "docs") as temporary:
        temporary.mkdir()
    assert names(tmp_path) == ["docs"]


def test_killed_between_the_two_renames_the_old_folder_comes_back_with_the_next_write(
    tmp_path, dead
):
    (tmp_path / f".docs.{dead}.old.part").mkdir()
    (tmp_path / f".docs.{dead}.old.part" / "old.html").touch()
    (tmp_path / f".docs.{dead}.part").mkdir()
    with pytest.raises(OSError, match="disk"), write_whole(tmp_path / "docs"):
        raise OSError("disk full")
    assert names(tmp_path) == ["docs"]
    assert names(tmp_path / "docs") == ["old.html"]


def test_the_old_folder_is_deleted_only_once_the_new_one_is_in_place(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    deleted, really = [], shutil.rmtree

    def watched(path):
        deleted.append((path.name, names(tmp_path / "docs")))
        really(path)

    monkeypatch.setattr(shutil, "rmtree", watched)
    with write_whole(tmp_path / "docs") as temporary:
        temporary.mkdir()
        (temporary / "new.html").touch()
    assert deleted == [(f".docs.{os.getpid()}.old.part", ["new.html"])]
    assert names(tmp_path) == ["docs"]


def test_git_ignores_what_is_being_written_in_data():
    paths = [f"data/.raw.7{ending}" for ending in (".part", ".old.part")]
    assert subprocess.run(["git", "check-ignore", "--quiet", paths[0]]).returncode == 0
    assert subprocess.run(["git", "check-ignore", "--quiet", paths[1]]).returncode == 0


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf")


def test_a_dead_process_whose_parent_has_not_asked_for_its_exit_code_is_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
    assert not is_alive(child.pid)
    (tmp_path / f".a.txt.{child.pid}.part").touch()
    with write_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["a.txt"]
    child.wait()
