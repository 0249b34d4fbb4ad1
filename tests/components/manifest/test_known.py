"""The memory of files read before: it saves time, or nothing; it never breaks a run."""

import random
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.manifest import known as known_module
from components.manifest.known import STATE, Known, remembered

SCHEMA = pa.schema([("path", pa.string()), ("content", pa.string())])


def rows(names: str, version: int = 1, known: bool = True) -> pa.RecordBatch:
    """A row per letter; its content is letter and version."""
    state = [version if known else -1] * len(names)
    columns = [pa.array(list(names)), pa.array([f"{name}{version}" for name in names])]
    return pa.record_batch(
        [*columns, *[pa.array(state, pa.int64())] * len(STATE)], pa.schema([*SCHEMA, *STATE])
    )


def fill(path: Path, *batches: pa.RecordBatch, recipe: str = "r") -> None:
    with remembered(path, recipe, SCHEMA) as known:
        for batch in batches:
            known.add(batch)


def found(known: Known, names: str, version: int = 1) -> list[str | None]:
    """The content that is remembered of each name, None where it has to be read."""
    states = np.full((len(names), len(STATE)), version, np.int64)
    places = known.find(pa.array(list(names)), states)
    content = known.rows.column("content").to_pylist()
    return [content[place] if place >= 0 else None for place in places]


def test_what_was_added_is_known_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "new/known.sqlite"
    fill(path, rows("abc"), rows("de"))
    with remembered(path, "r", SCHEMA) as known:
        assert found(known, "eaxd") == ["e1", "a1", None, "d1"]


def test_a_row_holds_only_for_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("a"))
    with remembered(path, "r", SCHEMA) as known:
        for column in range(len(STATE)):
            states = np.ones((1, len(STATE)), np.int64)
            states[0, column] = 2
            assert known.find(pa.array(["a"]), states).tolist() == [-1]


def test_the_newest_row_of_a_path_is_the_one_that_counts(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("ab", 1), rows("b", 2))
    with remembered(path, "r", SCHEMA) as known:
        assert found(known, "ab", 1) == ["a1", None]
        assert found(known, "ab", 2) == [None, "b2"]


def test_a_row_of_a_file_that_cannot_be_told_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("a", known=False))
    with remembered(path, "r", SCHEMA) as known:
        assert known.rows.num_rows == 0


def test_rows_by_another_recipe_are_dropped_for_good(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("a"))
    fill(path, recipe="other")
    with remembered(path, "r", SCHEMA) as known:
        assert known.rows.num_rows == 0


def test_rows_of_files_that_are_gone_are_dropped_when_they_are_many(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("abcdefghijklmnopqrst"))
    for living, kept in (("abcdefghijklmnopqrs", 20), ("abcdef", 6)):
        with remembered(path, "r", SCHEMA) as known:
            known.settle(pa.Table.from_batches([rows(living)]))
        with remembered(path, "r", SCHEMA) as known:
            assert known.rows.num_rows == kept
            assert found(known, "af") == ["a1", "f1"]


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    with remembered(None, "r", SCHEMA) as known:
        known.add(rows("a"))
        assert found(known, "a") == [None]


@pytest.mark.parametrize("how", ["torn", "garbage", "empty", "foreign", "other columns", "flipped"])
def test_a_broken_file_is_thrown_away_with_a_line(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, *[rows("abcdefgh")] * 20)
    whole = path.read_bytes()
    if how == "foreign":
        path.unlink()
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE batches (recipe TEXT, checksum INTEGER, rows BLOB)")
        other.close()
    elif how == "other columns":
        path.unlink()
        with remembered(path, "r", pa.schema([("path", pa.string())])) as known:
            known.add(rows("a").drop_columns(["content"]))
    else:
        at = whole.index(b"abcdefgh")
        flipped = whole[:at] + b"x" + whole[at + 1 :]
        kinds = {"torn": whole[:-5000], "garbage": b"no database", "flipped": flipped, "empty": b""}
        path.write_bytes(kinds[how])
    with remembered(path, "r", SCHEMA) as known:
        assert found(known, "a") == [None]
        known.add(rows("a"))
    printed = capsys.readouterr().out
    assert ("is broken and begins anew" in printed) == (how != "empty")
    with remembered(path, "r", SCHEMA) as known:
        assert found(known, "a") == ["a1"]


def test_no_damage_anywhere_makes_an_error_or_a_wrong_row(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, *[rows("abcdefgh")] * 5)
    whole = path.read_bytes()
    dice = random.Random(0)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 30)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data[: dice.choice([len(data), dice.randrange(len(data))])])
        with remembered(path, "r", SCHEMA) as known:
            assert found(known, "ah") in ([None, None], ["a1", "h1"])
            known.add(rows("a"))


def test_a_file_in_use_is_done_without_and_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.manifest.known.LOCKED_S", 0.05)
    path = tmp_path / "known.sqlite"
    fill(path, rows("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with remembered(path, "r", SCHEMA) as known:
        assert found(known, "a") == [None]
        known.add(rows("b"))
    assert "cannot be used" in capsys.readouterr().out
    other.execute("ROLLBACK")
    with remembered(path, "r", SCHEMA) as known:
        assert found(known, "ab") == ["a1", None]
        other.execute("BEGIN EXCLUSIVE")  # and when it comes to be in use later on
        known.add(rows("b"))
        known.add(rows("c"))
    other.close()
    assert capsys.readouterr().out.count("will be read again") == 1


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, 266, 1544])  # a read fails, no rights
def test_a_passing_error_of_the_disk_costs_no_rows(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "known.sqlite"
    fill(path, rows("a"))
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code

    def fail(*_: object) -> Known:
        raise error

    with monkeypatch.context() as failing:
        failing.setattr(known_module, "_read", fail)
        with remembered(path, "r", SCHEMA) as known:
            assert found(known, "a") == [None]
    assert "cannot be used" in capsys.readouterr().out
    with remembered(path, "r", SCHEMA) as known:
        assert found(known, "a") == ["a1"]


def test_a_place_that_cannot_be_written_is_done_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "known.sqlite").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "known.sqlite", tmp_path / "file/known.sqlite"):
        with remembered(path, "r", SCHEMA) as known:
            known.add(rows("a"))
        assert "cannot be used" in capsys.readouterr().out
