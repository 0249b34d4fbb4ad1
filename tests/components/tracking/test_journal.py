"""Records on the disk: torn, locked, on a full disk, and delivered to a real sqlite store."""

import json
import logging
import math
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from mlflow.entities import Run as StoredRun

from components.errors import UserError
from components.tracking import journal as journals
from components.tracking.connection import client, experiment_id
from components.tracking.delivery import deliver, deliver_waiting
from components.tracking.journal import Journal, create_journal
from components.tracking.journal_files import FOLDER, count_waiting, journal_folders
from components.tracking.runs import run_for_model, run_of_model, start_run
from tests.components.origins import ORIGIN

DATASET = {
    "name": "data/raw",
    "digest": "0",
    "source_type": "local",
    "source": "{}",
    "profile": "{}",
}


@pytest.fixture(autouse=True)
def said(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("components"), "propagate", True)
    return caplog


def left_behind(*, epochs: int = 3, **tags: str) -> Path:
    """Return the journal of a training whose process is killed before it delivers anything."""
    journal = create_journal("run", name="train", tags=tags)
    journal.add("inputs", dataset=DATASET)
    journal.add("params", params={"seed": "1"})
    for epoch in range(1, epochs + 1):
        journal.add("metrics", metrics={"loss": 1 / epoch, "worst": math.nan}, step=epoch)
    Path("history.csv").write_text("loss\n")
    journal.add_file(Path("history.csv"), "tables")
    journal.release()
    return journal.path


def stored() -> list[StoredRun]:
    return list(client().search_runs([experiment_id()], order_by=["attributes.start_time"]))


def steps(run: StoredRun, metric: str = "loss") -> list[int]:
    return [row.step for row in client().get_metric_history(run.info.run_id, metric)]


def test_what_a_dead_process_left_is_delivered_in_order_and_its_run_has_ended() -> None:
    path = left_behind()
    times = [json.loads(line)["time_ms"] for line in (path / "records").read_text().splitlines()]
    assert count_waiting() == (7, 1)
    assert deliver_waiting().delivered == 8  # with the record of the end
    [run] = stored()
    assert (run.info.status, run.data.params) == ("KILLED", {"seed": "1"})
    assert (run.info.start_time, run.info.end_time) == (times[0], times[-1])
    assert steps(run) == [1, 2, 3]
    [file] = client().list_artifacts(run.info.run_id, "tables")
    assert file.path == "tables/history.csv"
    assert journal_folders() == []


@pytest.mark.parametrize("delivered", [0, 1, 4])
def test_what_is_sent_twice_is_there_once(delivered: int, tmp_path: Path) -> None:
    path = left_behind()
    shutil.copytree(path, tmp_path / "before")
    deliver_waiting()
    [first] = stored()
    shutil.copytree(tmp_path / "before", path)
    run_id = first.info.run_id if delivered else ""
    cursor = {"delivered": delivered, "run_id": run_id, "tried": True}
    (path / "cursor").write_text(json.dumps(cursor))
    deliver_waiting()
    [run] = stored()
    assert steps(run) == steps(run, "worst") == [1, 2, 3]
    assert len(run.inputs.dataset_inputs) == 1
    assert run.info.status == "KILLED"


def test_an_incomplete_last_line_is_ignored() -> None:
    path = left_behind()
    with (path / "records").open("ab") as file:
        file.write(b'{"kind": "metrics", "time_ms": 17')
    deliver_waiting()
    [run] = stored()
    assert (steps(run), run.info.status) == ([1, 2, 3], "KILLED")


def damage(path: Path, number: int) -> None:
    """Overwrite the start of a line of the records."""
    lines = (path / "records").read_bytes().splitlines(keepends=True)
    lines[number] = b"\xff\x00\r\x85" + lines[number][4:]
    (path / "records").write_bytes(b"".join(lines))


def test_a_damaged_line_costs_its_own_record_and_is_shown(said: pytest.LogCaptureFixture) -> None:
    damage(left_behind(), 4)
    assert deliver_waiting().reasons == ()
    [run] = stored()
    assert (steps(run), run.info.status) == ([1, 3], "KILLED")
    assert client().list_artifacts(run.info.run_id, "tables")
    assert " is left out. Received: " in said.text
    assert '"metrics": {"loss": 0.5' in said.text


def test_after_a_damaged_last_line_the_run_ends_when_it_was_last_heard_of() -> None:
    path = left_behind()
    damage(path, -1)
    last = json.loads((path / "records").read_bytes().split(b"\n")[-3])
    deliver_waiting()
    [run] = stored()
    assert (run.info.status, run.info.end_time) == ("KILLED", last["time_ms"])


def test_without_its_first_line_a_journal_is_kept_and_a_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journals, "CREATED_WITHIN_S", -1.0)
    path = left_behind()
    damage(path, 0)
    left_behind()
    [reason] = deliver_waiting().reasons
    assert reason.startswith(f"8 records in {FOLDER / path.name}: the first line is damaged")
    assert "; correct the line, or delete the folder. Received: " in reason
    assert journal_folders() == [path]
    assert len(stored()) == 1


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"delivered": "many"}', "\0\0"])
def test_a_damaged_cursor_sends_everything_again_and_once(content: str) -> None:
    path = left_behind(epochs=1)
    (path / "cursor").write_text(content)
    assert count_waiting() == (5, 1)
    assert deliver_waiting().delivered == 6
    [run] = stored()
    assert steps(run) == [1]


def test_a_cursor_beyond_the_records_that_the_disk_has_sends_only_the_end() -> None:
    path = left_behind()
    run = client().create_run(experiment_id())
    cursor = {"delivered": 99, "run_id": run.info.run_id, "tried": True}
    (path / "cursor").write_text(json.dumps(cursor))
    assert deliver_waiting().delivered == 1
    assert [found.info.status for found in stored()] == ["KILLED"]


def test_records_that_cannot_be_read_are_named_and_stay_unlocked() -> None:
    path = left_behind()
    (path / "records").rename(path / "elsewhere")
    (path / "records").mkdir()  # As root, a test can read the files of every user.
    for _ in range(2):
        done = deliver_waiting()
        assert done.in_use == 0
        [reason] = done.reasons
        assert reason.startswith(f"the records in {FOLDER / path.name} cannot be read: [Errno 21]")
    (path / "records").rmdir()
    (path / "elsewhere").rename(path / "records")
    assert deliver_waiting().delivered == 8


def test_a_file_whose_copy_was_deleted_holds_back_nothing(said: pytest.LogCaptureFixture) -> None:
    path = left_behind()
    shutil.rmtree(path / "files")
    assert deliver_waiting().reasons == ()
    assert "because its copy was deleted: " in said.text
    assert stored()[0].info.status == "KILLED"


def test_a_journal_that_has_no_record_yet_is_no_run_of_a_model() -> None:
    (FOLDER / "new").mkdir(parents=True)
    (FOLDER / "new/records").touch()
    assert run_of_model("abc") is None


def test_a_folder_without_a_record_is_removed_when_nobody_can_be_creating_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (FOLDER / "new").mkdir(parents=True)
    deliver_waiting()
    assert [path.name for path in journal_folders()] == ["new"]
    monkeypatch.setattr(journals, "CREATED_WITHIN_S", -1.0)
    deliver_waiting()
    assert journal_folders() == []


def test_two_processes_never_deliver_the_same_journal_at_the_same_time() -> None:
    held = create_journal("run", name="train", tags={})
    paths = [left_behind(epochs=1) for _ in range(4)]
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(deliver_waiting) for _ in range(2)]
    assert sum(done.result().delivered for done in both) == 6 * len(paths)
    assert min(done.result().in_use for done in both) >= 1
    assert [steps(run) for run in stored()] == [[1]] * len(paths)
    assert journal_folders() == [held.path]
    held.release()


def test_a_full_disk_stops_nothing_and_is_said_once(said: pytest.LogCaptureFixture) -> None:
    journal = Journal(Path.cwd() / FOLDER / "full")
    journal.path.mkdir(parents=True)
    (journal.path / "records").symlink_to("/dev/full")
    address, experiment = "sqlite:///mlflow.db", "fovea"
    journal.add("run", address=address, experiment=experiment, name="train", tags={})
    journal.add("metrics", metrics={"loss": 1.0}, step=1)
    assert journal.unsaved == 2
    assert said.text.count("free some space; the work goes on. Received: [Errno 28]") == 1
    deliver(journal)
    assert (journal.unsaved, steps(stored()[0])) == (0, [1])
    journal.release()


def test_a_folder_that_cannot_be_created_stops_no_run(said: pytest.LogCaptureFixture) -> None:
    FOLDER.parent.mkdir()
    FOLDER.write_text("not a folder")
    Path("report.html").write_text("<p>fine</p>")
    with start_run("train", ORIGIN, {}) as run:
        run.log_metrics({"loss": 1.0}, step=1)
        run.log_files(Path("report.html"), folder="evaluate")
    [found] = stored()
    assert (steps(found), found.info.status) == ([1], "FINISHED")
    assert run.read_text("evaluate/report.html") == "<p>fine</p>"
    assert said.text.count("cannot be written to the disk") == 1


@pytest.mark.parametrize("change", [False, True])
def test_files_beyond_the_bound_are_delivered_from_their_place_if_they_are_unchanged(
    change: bool, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journals, "MOST_BYTES", 0)
    path = left_behind()
    assert not (path / "files").exists()
    if change:
        Path("history.csv").write_text("other\n")
    deliver_waiting()
    [run] = stored()
    assert len(client().list_artifacts(run.info.run_id, "tables")) == (not change)
    assert ("because it was changed meanwhile" in said.text) == change


def test_records_for_another_mlflow_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/other.db")
    shutil.copy("mlflow.db", "other.db")
    [reason] = deliver_waiting().reasons
    assert "8 records in .fovea/tracking/" in reason
    assert "set MLFLOW_TRACKING_URI to it. Received: sqlite:///mlflow.db" in reason
    assert stored() == []
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert deliver_waiting().reasons == ()
    assert len(stored()) == 1


def test_a_record_that_mlflow_refuses_does_not_hold_up_the_others(
    said: pytest.LogCaptureFixture,
) -> None:
    with start_run("train", ORIGIN, {}) as run:
        run.log_params({"seed": 1})
        run.log_params({"seed": 2})
        run.log_metrics({"loss": 1.0}, step=1)
    [found] = stored()
    assert (found.data.params, steps(found)) == ({"seed": "1"}, [1])
    assert "MLflow refuses a record (params): Changing param values is not allowed" in said.text


def test_what_is_logged_to_a_deleted_run_waits_until_it_is_restored() -> None:
    with start_run("train", ORIGIN, {}) as run:
        client().delete_run(run.id)
        run.log_metrics({"loss": 1.0}, step=1)
    [reason] = deliver_waiting().reasons
    assert "must be in the 'active' state" in reason
    client().restore_run(run.id)
    assert deliver_waiting().reasons == ()
    [found] = stored()
    assert (steps(found), found.info.status) == ([1], "FINISHED")


def test_what_a_store_on_a_full_disk_does_not_take_waits_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A limit on the size of the store stands for the disk."""
    monkeypatch.setattr("components.tracking.delivery.ATTEMPT_PAUSES_S", ())
    journal = create_journal("run", name="train", tags={})
    journal.add("metrics", metrics={f"loss {n}": 1.0 for n in range(1_000)}, step=1)
    journal.release()
    experiment_id()
    with closing(sqlite3.connect("mlflow.db")) as store:
        limits = {"pages": store.execute("PRAGMA page_count").fetchone()[0]}

    def limit(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {limits['pages']}")

    sqlalchemy.event.listen(sqlalchemy.Pool, "checkout", limit)
    deliver_waiting()
    assert len(journal_folders()) == 1
    assert "Traceback" not in capfd.readouterr().err
    limits["pages"] *= 100
    deliver_waiting()
    sqlalchemy.event.remove(sqlalchemy.Pool, "checkout", limit)
    assert journal_folders() == []
    assert len(stored()[0].data.metrics) == 1_000


def test_the_metrics_of_a_model_join_its_run_even_if_that_run_waits() -> None:
    left_behind(model_id="abc")
    with run_for_model("abc", ORIGIN) as run:
        run.log_metrics({"test_accuracy": 0.9})
    [found] = stored()
    assert found.data.metrics.keys() == {"loss", "worst", "test_accuracy"}


def test_a_file_arrives_in_a_folder_of_any_name() -> None:
    Path("verdict.json").write_text("{}")
    with start_run("train", ORIGIN, {}) as run:
        run.log_files(Path("verdict.json"), folder="register/v1.")
        run.log_files(Path("verdict.json"))
    assert run.read_text("register/v1./verdict.json") == run.read_text("verdict.json") == "{}"


def test_a_run_is_delivered_before_it_is_looked_for() -> None:
    left_behind(model_id="abc")
    run = run_of_model("abc")
    assert run is not None
    assert run.read_tags()["model_id"] == "abc"


def test_a_run_that_cannot_be_delivered_is_an_error_not_an_unknown_model() -> None:
    journal = create_journal("run", name="train", tags={"model_id": "abc"})
    with pytest.raises(UserError, match=r"run `fovea sync`.*another process is delivering it"):
        run_of_model("abc")
    journal.release()


def test_a_model_that_was_evaluated_without_mlflow_gets_one_run() -> None:
    tags = {"model_id": "abc", "adopted": "yes"}
    for accuracy in (0.8, 0.9):
        journal = create_journal("model", name="adopted", tags=tags, dataset=DATASET)
        journal.add("metrics", metrics={"test_accuracy": accuracy}, step=0)
        journal.release()
    assert deliver_waiting().reasons == ()
    [run] = stored()
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"test_accuracy": 0.9})
    assert journal_folders() == []
