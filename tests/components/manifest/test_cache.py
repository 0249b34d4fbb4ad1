"""The cache of rows of files read before: it saves time, or nothing; it never breaks a run."""

import random
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.manifest import cache as cache_module
from components.manifest.cache import STATE, Cache, open_cache

SCHEMA = pa.schema([("path", pa.string()), ("content", pa.string())])


def rows(names: str, version: int = 1, known: bool = True) -> pa.RecordBatch:
    """A row per letter; its content is letter and version."""
    state = [version if known else -1] * len(names)
    columns = [pa.array(list(names)), pa.array([f"{name}{version}" for name in names])]
    return pa.record_batch(
        [*columns, *[pa.array(state, pa.int64())] * len(STATE)], pa.schema([*SCHEMA, *STATE])
    )


def fill(path: Path, *batches: pa.RecordBatch, recipe: str = "r") -> None:
    with open_cache(path, recipe, SCHEMA) as cache:
        for batch in batches:
            cache.add(batch)


def content(cache: Cache, names: str, version: int = 1) -> list[str | None]:
    """The content that is remembered of each name, None where it has to be read."""
    states = np.full((len(names), len(STATE)), version, np.int64)
    places = cache.find(pa.array(list(names)), states)
    stored = cache.rows.column("content").to_pylist()
    return [stored[place] if place >= 0 else None for place in places]


def test_what_was_added_is_known_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "new/known.sqlite"
    fill(path, rows("abc"), rows("de"))
    with open_cache(path, "r", SCHEMA) as cache:
        assert content(cache, "eaxd") == ["e1", "a1", None, "d1"]


def test_a_row_holds_only_for_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("a"))
    with open_cache(path, "r", SCHEMA) as cache:
        for column in range(len(STATE)):
            states = np.ones((1, len(STATE)), np.int64)
            states[0, column] = 2
            assert cache.find(pa.array(["a"]), states).tolist() == [-1]


def test_the_newest_row_of_a_path_is_the_one_that_counts(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("ab", 1), rows("b", 2))
    with open_cache(path, "r", SCHEMA) as cache:
        assert content(cache, "ab", 1) == ["a1", None]
        assert content(cache, "ab", 2) == [None, "b2"]


def test_a_row_of_a_file_that_cannot_be_told_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("a", known=False))
    with open_cache(path, "r", SCHEMA) as cache:
        assert cache.rows.num_rows == 0


def test_rows_by_another_recipe_are_dropped_for_good(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("a"))
    fill(path, recipe="other")
    with open_cache(path, "r", SCHEMA) as cache:
        assert cache.rows.num_rows == 0


def test_rows_of_files_that_are_gone_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("abcdefghijklmnopqrst"))
    for living, kept in (("abcdefghijklmnopqrs", 19), ("abcdef", 6)):
        with open_cache(path, "r", SCHEMA) as cache:
            cache.drop_all_but(pa.array(list(living)))
        with open_cache(path, "r", SCHEMA) as cache:
            assert cache.rows.num_rows == kept
            assert content(cache, "af") == ["a1", "f1"]


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    with open_cache(None, "r", SCHEMA) as cache:
        cache.add(rows("a"))
        assert content(cache, "a") == [None]


@pytest.mark.parametrize("how", ["torn", "garbage", "empty", "not UTF-8"])
def test_a_broken_file_is_deleted_with_a_line(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, *(rows("abcdefgh"[n]) for n in range(8)), rows("x" * 2000))
    whole = path.read_bytes()
    kinds = {
        "torn": whole[:-5000],
        "garbage": b"no database",
        "empty": b"",
        "not UTF-8": whole.replace(b"h1", b"\xff1"),
    }
    assert kinds[how] != whole
    path.write_bytes(kinds[how])
    with open_cache(path, "r", SCHEMA) as cache:
        assert content(cache, "a") == [None]
        cache.add(rows("a"))
    assert ("is broken and is deleted" in capsys.readouterr().out) == (how != "empty")
    with open_cache(path, "r", SCHEMA) as cache:
        assert content(cache, "a") == ["a1"]


def test_a_cache_with_other_columns_or_of_an_older_version_begins_empty(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    with sqlite3.connect(path) as older:
        older.execute("CREATE TABLE batches (recipe TEXT, checksum INTEGER, rows BLOB)")
    older.close()
    with open_cache(path, "r", pa.schema([("path", pa.string())])) as cache:
        assert cache.rows.num_rows == 0
        cache.add(rows("a").drop_columns(["content"]))
    with open_cache(path, "r", SCHEMA) as cache:
        assert content(cache, "a") == [None]
        cache.add(rows("a"))
    with sqlite3.connect(path) as file:
        assert file.execute(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
        ).fetchone() == (1,)
    file.close()


def test_no_damage_anywhere_makes_an_error(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, *(rows(name) for name in "abcdefgh"))
    whole = path.read_bytes()
    dice = random.Random(0)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 30)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data[: dice.choice([len(data), dice.randrange(len(data))])])
        with open_cache(path, "r", SCHEMA) as cache:
            content(cache, "ah")
            cache.add(rows("a"))


def test_a_file_in_use_is_done_without_and_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.manifest.cache.LOCKED_S", 0.05)
    path = tmp_path / "known.sqlite"
    fill(path, rows("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with open_cache(path, "r", SCHEMA) as cache:
        assert content(cache, "a") == [None]
        cache.add(rows("b"))
    assert "cannot be used" in capsys.readouterr().out
    other.execute("ROLLBACK")
    with open_cache(path, "r", SCHEMA) as cache:
        assert content(cache, "ab") == ["a1", None]
        other.execute("BEGIN EXCLUSIVE")  # and when it comes to be in use later on
        cache.add(rows("b"))
        cache.add(rows("c"))
    other.close()
    assert capsys.readouterr().out.count("some image files are read again in the next run") == 1


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, 266, 1544])  # a read fails, no rights
def test_a_passing_error_of_the_disk_costs_no_rows(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("a"))
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code

    def fail(*_: object) -> Cache:
        raise error

    with monkeypatch.context() as failing:
        failing.setattr(cache_module, "_read", fail)
        with open_cache(path, "r", SCHEMA) as cache:
            assert content(cache, "a") == [None]
    assert "cannot be used" in capsys.readouterr().out
    with open_cache(path, "r", SCHEMA) as cache:
        assert content(cache, "a") == ["a1"]


def test_a_place_that_cannot_be_written_is_done_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "known.sqlite").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "known.sqlite", tmp_path / "file/known.sqlite"):
        with open_cache(path, "r", SCHEMA) as cache:
            cache.add(rows("a"))
        assert "cannot be used" in capsys.readouterr().out
