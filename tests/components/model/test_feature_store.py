import errno
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from components.model import feature_store
from components.model.feature_store import read_features, remove_oldest, write_features

ONE = {bytes(16): np.arange(3, dtype=np.float32)}  # a name of zeros only is a name, too
TWO = {bytes(15) + b"2": np.ones(3, np.float32), bytes(15) + b"3": np.zeros(3, np.float32)}


def assert_equal(known, expected) -> None:
    assert known.keys() == expected.keys()
    for name, features in expected.items():
        np.testing.assert_array_equal(known[name], features)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_features(tmp_path / "a") == {}
    write_features(tmp_path / "a", ONE)
    write_features(tmp_path / "a", TWO)
    write_features(tmp_path / "b", {bytes(16): np.ones(5, np.float32)})
    assert_equal(read_features(tmp_path / "a"), ONE | TWO)


def test_large_numbers_of_images_are_in_several_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(feature_store, "ROWS", 2)
    write_features(tmp_path, ONE | TWO)
    assert len(list(tmp_path.iterdir())) == 2
    assert_equal(read_features(tmp_path), ONE | TWO)


@pytest.mark.parametrize("place", [0, 130, -1])
def test_a_changed_byte_is_noticed_and_the_file_removed(
    place: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_features(tmp_path, TWO)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    write_features(tmp_path, ONE)
    assert_equal(read_features(tmp_path), ONE)
    assert caplog.messages == [
        f"stored features were damaged and are computed again. Received: {file}"
    ]
    assert not file.exists()


def test_features_that_another_process_removes_meanwhile_are_read_and_stay_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_bytes = Path.read_bytes

    def read_and_remove(path: Path) -> bytes:
        content = read_bytes(path)
        path.unlink()
        return content

    write_features(tmp_path, ONE)
    monkeypatch.setattr(Path, "read_bytes", read_and_remove)
    assert_equal(read_features(tmp_path), ONE)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_only_the_time_to_compute_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "features")

    monkeypatch.setattr(Path, "write_bytes", full)
    with caplog.at_level(logging.WARNING):
        write_features(tmp_path, ONE)
    assert "No space left on device" in caplog.text
    assert read_features(tmp_path) == {}


def test_what_was_not_read_for_the_longest_time_is_removed_first(tmp_path: Path) -> None:
    for age, name in enumerate(("in use", "new", "old")):
        write_features(tmp_path / name, ONE)
        (file,) = (tmp_path / name).iterdir()
        os.utime(file, (1e9 - age, 1e9 - age))
    size = file.stat().st_size
    remove_oldest(tmp_path, [tmp_path / "in use"], 3 * size)
    assert len(list(tmp_path.iterdir())) == 3
    read_features(tmp_path / "old")
    remove_oldest(tmp_path, [tmp_path / "in use"], 2 * size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in use", "old"]
    remove_oldest(tmp_path, [tmp_path / "in use"], size)
    assert [path.name for path in tmp_path.iterdir()] == ["in use"]


def test_the_limit_also_holds_for_what_is_in_use(tmp_path: Path) -> None:
    """A data set that grows for years with one backbone has all its features in one folder."""
    write_features(tmp_path / "in use", TWO)
    for file in tmp_path.rglob("*.npy"):
        os.utime(file, (1e9, 1e9))
    write_features(tmp_path / "in use", ONE)
    total = sum(file.stat().st_size for file in tmp_path.rglob("*.npy"))
    remove_oldest(tmp_path, [tmp_path / "in use"], total - 1)
    assert_equal(read_features(tmp_path / "in use"), ONE)
    remove_oldest(tmp_path, [tmp_path / "in use"], 0)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_written_in_part_is_removed_too(tmp_path: Path) -> None:
    write_features(tmp_path / "a", ONE)
    part = tmp_path / "a/.0123.npy.99.part"
    part.write_bytes(bytes(1000))
    os.utime(part, (1e9, 1e9))
    remove_oldest(tmp_path, [tmp_path / "a"], 999)
    assert not part.exists()
    assert_equal(read_features(tmp_path / "a"), ONE)


def test_a_file_that_is_removed_while_it_is_read_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_features(tmp_path, ONE)
    read_bytes = Path.read_bytes

    def read_and_remove(path: Path) -> bytes:
        content = read_bytes(path)
        path.unlink()
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_remove)
    assert_equal(read_features(tmp_path), ONE)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_of_the_store_is_left_alone(tmp_path: Path) -> None:
    """Names that match, such as a folder and a pipe, whose read would never end."""
    write_features(tmp_path / "a", ONE)
    (tmp_path / "a/folder.npy").mkdir()
    os.mkfifo(tmp_path / "a/pipe.npy")
    (tmp_path / "a/line\nbreak.npy").symlink_to("nowhere.npy")
    assert_equal(read_features(tmp_path / "a"), ONE)
    remove_oldest(tmp_path, [tmp_path / "b"], 0)
    assert len(list((tmp_path / "a").iterdir())) == 3
