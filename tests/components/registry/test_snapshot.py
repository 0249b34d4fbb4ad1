import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from components.registry import snapshot
from components.registry.snapshot import SNAPSHOT, keep_snapshot, read_snapshot
from components.registry.versions import CHALLENGER
from components.tracking.connection import client, sqlite_file

NAME = "digits"


@pytest.fixture(autouse=True)
def _one_version(registered: Callable[..., int]) -> None:
    registered(b"one")


def test_a_kept_snapshot_is_what_mlflow_answered() -> None:
    asked = keep_snapshot(NAME)
    assert asked.challenger is not None
    assert read_snapshot(NAME, print) == asked


def test_any_change_of_the_database_counts() -> None:
    before = keep_snapshot(NAME)
    client().delete_registered_model_alias(NAME, CHALLENGER)
    assert before.challenger is not None
    assert read_snapshot(NAME, print).challenger is None


def test_another_name_and_a_damaged_file_ask_mlflow() -> None:
    asked = keep_snapshot(NAME)
    assert read_snapshot("other", print).versions == ()
    for text in ("", "{", "[]", json.dumps({"state": "x", "name": NAME})):
        SNAPSHOT.write_text(text)
        assert read_snapshot(NAME, print) == asked


def test_a_question_creates_no_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "nothing ran here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert read_snapshot(NAME, print).versions == ()
    assert list(folder.iterdir()) == []


def test_a_database_in_which_another_process_writes_has_no_state() -> None:
    database = sqlite3.connect(sqlite_file() or "")
    before = snapshot._state_of_database()
    database.execute("CREATE TABLE other (number INTEGER)")
    database.execute("INSERT INTO other VALUES (1)")
    assert snapshot._state_of_database() is None
    database.commit()
    database.close()
    assert snapshot._state_of_database() not in (None, before)


def test_the_verdict_is_read_from_its_new_place_and_else_from_the_old_one() -> None:
    run = read_snapshot(NAME, print).versions[0].run
    file = Path("verdict.json")
    for place, text in (("register", "old"), ("1-register-report", "new")):
        file.write_text(text)
        run.log_files(file, folder=f"{place}/{NAME}")
        assert keep_snapshot(NAME).verdict == text
