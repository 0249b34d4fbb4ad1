"""`fovea study`: what it shows of a search in every state, and how it ends a search."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.search import storage
from components.search.coordinator import STOP
from components.search.overview import note_outcome
from components.search.rungs import Rungs
from pipelines.workspace.searches import FOLDER, is_running, running
from tests.components.search.searches import rate_of, run_search, search_of
from tests.pipelines.commands.searches import begun_search

S = FOLDER / "s"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fovea(tmp_path: Path, typed: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return typed


@pytest.fixture
def begun(fovea: Command, tmp_path: Path) -> Iterator[Rungs]:
    """A search of which all six trials wait."""
    rungs = begun_search(tmp_path)
    yield rungs
    rungs.close()


def words(text: str) -> list[str]:
    """Return the lines of a text, without the lines of tables and with single spaces."""
    return [" ".join(line.replace("│", " ").split()) for line in text.splitlines()]


@pytest.mark.parametrize("command", [("study",), ("study", "stop")])
def test_where_no_search_ever_ran_it_says_how_to_run_one(
    fovea: Command, command: tuple[str, ...]
) -> None:
    assert fovea(*command) == (
        1,
        "",
        "error: no search was ever run here; write a number of trials into `search` of "
        "params.yaml, and run `dvc repro`. Received: no search in .fovea/search\n",
    )


def test_a_running_search_shows_who_runs_what_and_what_failed(fovea: Command, begun: Rungs) -> None:
    claims = [begun.first.claim(f"machine:{number}") for number in range(4)]
    assert all(claims)
    first, second, third, fourth = claims
    begun.first.complete(first, [0.5])
    begun.first.fail(second, "the loss is NaN [in epoch 2]")
    begun.first.report(third, {-1: 0.125, 0: 0.25})
    begun.first.give_back(fourth, "no sign of life for 60 s")
    with running(S):
        status, out, err = fovea("study")
    assert (status, err) == (0, "")
    lines = words(out)
    assert "state running" in lines
    assert "trials 1 of 6 complete" in lines
    assert "best so far trial 0, val_macro_f1 0.5" in lines
    assert "first rung 1 0 1 1 3" in lines
    assert "0 0.5 2 – train.finetune.learning_rate: 0.003" in lines
    assert "running now" in lines
    running_now = re.compile(r"machine:2 2 first rung, until epoch 2 1 \d+ s head: 0.25")
    assert any(map(running_now.fullmatch, lines))
    assert "1 first rung failed the loss is NaN [in epoch 2]" in lines
    retried = "3 first rung tried again attempt 1 on machine:3: no sign of life for 60 s"
    assert retried in lines


def test_a_search_whose_process_is_gone_is_interrupted(fovea: Command, begun: Rungs) -> None:
    assert begun.first.claim("machine:0")
    lines = words(fovea("study")[1])
    assert "state interrupted; `dvc repro` goes on with it" in lines
    assert "were running when the search was interrupted" in lines


def test_a_finished_search_shows_confirmed_values_and_the_choice(
    fovea: Command, begun: Rungs, tmp_path: Path
) -> None:
    def train(task, on_value):  # type: ignore[no-untyped-def]
        luck = 0.0 if task.fold is None else 0.01 * task.fold
        return {"val_macro_f1": rate_of(task) + luck}

    coordinator, trials = run_search(tmp_path / S, search_of(), train)
    best = coordinator.best()[0]
    note_outcome(begun, best, ["training uses the best trial"])
    status, out, _ = fovea("study")
    lines = words(out)
    assert status == 0
    assert "state over: it is finished" in lines
    assert f"training uses trial {best}" in lines
    assert f"confirmation of 0 {best} 4 0 0 0 0" in lines
    value = trials[best].values["val_macro_f1"]
    confirmed = f"{value + 0.005:.4g} ({value:.4g}, {value + 0.01:.4g})"
    assert any(line.startswith(f"{best} {value:.4g} 15 {confirmed} train.") for line in lines)
    assert lines[-1] == "training uses the best trial"
    assert "running now" not in lines

    status, _, err = fovea("study", "stop")
    assert (status, err) == (
        1,
        "error: the search is over already; `fovea study` shows what it found. "
        "Received: it is finished\n",
    )


def test_params_as_written_that_are_used_although_their_trial_failed_are_shown(
    fovea: Command, begun: Rungs
) -> None:
    """So it is if no other trial is within the costs."""
    for number in range(6):
        claim = begun.first.claim("machine:0")
        assert claim
        if number:
            begun.first.complete(claim, [0.5])
        else:
            begun.first.fail(claim, "no memory")
    note_outcome(begun, 0, ["training uses the params as written"])
    begun.first.end("it is finished")
    status, out, err = fovea("study")
    assert (status, err) == (0, "")
    assert "0 – 2 – train.finetune.learning_rate: 0.003" in words(out)


def test_a_stop_is_written_into_the_study_once(fovea: Command, begun: Rungs) -> None:
    with running(S):
        status, out, _ = fovea("study", "stop")
        assert (status, out.split(";")[0]) == (0, "no further trial starts")
        assert "state running, and about to end: stopped by `fovea study stop`" in words(
            fovea("study")[1]
        )
    assert begun.first.noted(STOP) == "stopped by `fovea study stop`"


def test_a_stop_of_an_interrupted_search_says_when_it_ends(fovea: Command, begun: Rungs) -> None:
    status, out, _ = fovea("study", "stop")
    assert status == 0
    assert out.startswith("no process runs this search now; the next `dvc repro` starts no trial")
    assert "state interrupted; `dvc repro` goes on with it to its end, without further trials" in (
        words(fovea("study")[1])
    )
    assert begun.first.noted(STOP)
    begun.first.end("its process noticed the stop, and was killed")
    assert any(line.startswith("state interrupted") for line in words(fovea("study")[1]))


def test_a_process_that_ends_releases_its_search(fovea: Command, begun: Rungs) -> None:
    assert not is_running(S)
    with running(S):
        assert is_running(S)
        with pytest.raises(Exception, match="another process runs this search already"), running(S):
            pass
        assert is_running(S)
    assert not is_running(S)


@pytest.mark.parametrize("damage", ["no database", "half of it", "a page", "gone", "not json"])
def test_damage_is_one_sentence(fovea: Command, begun: Rungs, damage: str) -> None:
    begun.close()
    file = S / "study.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for log in S.glob("study.db-*"):
        log.unlink()
    if damage == "no database":
        file.write_bytes(b"no database" * 1000)
    elif damage == "half of it":
        half = file.read_bytes()[: file.stat().st_size // 2]
        file.write_bytes(half[: len(half) // 4096 * 4096])
    elif damage == "a page":
        with sqlite3.connect(file) as connection:
            tables = "SELECT rootpage FROM sqlite_master WHERE tbl_name = 'study_user_attributes'"
            pages = [page for (page,) in connection.execute(tables)]
        connection.close()
        with file.open("r+b") as content:
            for page in pages:
                content.seek((page - 1) * 4096)
                content.write(b"\xff" * 4096)
    elif damage == "gone":
        file.unlink()
    else:
        (S / "search.json").write_text("{")
    expected = {
        "gone": "the search has no database here: it has not begun, its file was deleted, or it",
        "not json": ".fovea/search/s/search.json: it is damaged, or of another Fovea; run",
    }.get(damage, "FOVEA_STUDY_STORAGE: the database of the study cannot be used; ")
    for command in (("study",), ("study", "stop")):
        status, out, err = fovea(*command)
        assert (status, out) == (1, "")
        assert err.startswith(f"error: {expected}")
        assert err.count("\n") == 1


def test_a_database_in_use_can_be_read_but_a_stop_waits_and_gives_up(
    fovea: Command, begun: Rungs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LOCK_S", 1)
    monkeypatch.setattr("components.search.overview.PATIENCE_S", 1.0)
    connection = sqlite3.connect(S / "study.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        assert fovea("study")[0] == 0
        status, _, err = fovea("study", "stop")
    finally:
        connection.close()
    assert status == 1
    assert err.startswith("error: FOVEA_STUDY_STORAGE: the database of the study cannot be used; ")
    assert err.endswith("Received: database is locked\n")
