"""Journals of runs → MLflow, each record once and in order.

A request can be lost in two ways: MLflow did not get it, or its answer did not arrive. The sender
cannot tell which. So each record is sent until MLflow has answered, and may be sent twice. Its
effect is the same as if it was sent once:

- A metric has the time at which it was recorded. MLflow keeps one row for equal run, name, time,
  step and value (`_log_metrics` in mlflow/store/tracking/sqlalchemy_store.py).
- Params, tags, the dataset, files and the status have the same value after the second request.
- A run has a tag RUN_KEY with the name of its journal. After a first request without an answer,
  MLflow is asked for a run with this tag, and a second one is created only if there is none. A
  server that was stopped can still create a run later. When the run ends, such twins are deleted.
"""

import json
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError, one_line
from components.tracking.connection import address, client, experiment_id, is_remote
from components.tracking.journal import (
    FOLDER,
    Journal,
    Record,
    count_waiting,
    create_journal,
    journal_folders,
    open_journal,
)
from components.words import count_text

log = logging.getLogger(__name__)

RUN_KEY = "run_key"
MODEL_ID = "model_id"
# A run with this tag was created for a model that was trained elsewhere.
ADOPTED = "adopted"
# At the end of a stage, the stage waits this long for a server that is slow.
END_LIMIT_S = 10.0
# Between two attempts to reach a server that is away: the first pause, and the longest one.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
# MLflow answers a wrong request with one of these codes. The same request will never be accepted.
REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE")


class WaitingError(Exception):
    """A record cannot be delivered before another journal is delivered."""


@dataclass(frozen=True)
class Delivery:
    """What `deliver_waiting` has done.

    delivered: the number of records that MLflow got. reasons: why records are left, for each
    journal. in_use: how many journals another process writes, which delivers them itself.
    """

    delivered: int
    reasons: tuple[str, ...]
    in_use: int


class Sender:
    """A thread that delivers the journals of a run and its child runs while the work goes on."""

    def __init__(self) -> None:
        self._journals: list[Journal] = []
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="sender to MLflow")
        self._away = False
        self._others_wait = True

    def start(self) -> None:
        """Start the thread. It first delivers what earlier processes have left."""
        self._thread.start()

    def open(self, kind: str, **fields: Any) -> Journal:
        """Create a journal that this thread delivers."""
        journal = create_journal(kind, **fields)
        self._journals.append(journal)
        return journal

    def wake(self) -> None:
        """Deliver new records now. This call returns at once."""
        self._wake.set()

    def close(self) -> None:
        """Wait at most END_LIMIT_S for the delivery, end the thread, and say what is left."""
        if not self._thread.ident:  # The thread was not started, because MLflow does not answer.
            return
        self._closing.set()
        self._wake.set()
        self._ended.wait(END_LIMIT_S)
        lost = sum(journal.unsaved for journal in self._journals)
        if lost:
            log.error(
                f"{count_text(lost, 'record')} for MLflow could neither be delivered nor written "
                f"to the disk; the files of this stage have the results. Received: {address()}"
            )
        records, _ = count_waiting()
        if records:
            log.warning(
                f"{count_text(records, 'record waits', 'records wait')} for MLflow ({address()}); "
                "`fovea sync` delivers them, or the next stage that uses MLflow"
            )

    def _work(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            last = self._closing.is_set()
            self._wake.clear()
            if self._attempt():
                pause = FIRST_PAUSE_S
                self._wake.wait(0 if last else None)
            else:
                # New records are no reason to ask earlier.
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            if last:
                break
        for journal in self._journals:
            journal.release()
        self._ended.set()

    def _attempt(self) -> bool:
        """Deliver all records that wait. Return whether MLflow has taken those of this process."""
        journals = list(self._journals)
        try:
            for journal in journals:
                journal.sync()
            if self._others_wait:
                deliver_waiting()
                self._others_wait = False
            for journal in journals:
                if deliver(journal):
                    self._journals.remove(journal)
        except Exception as error:
            if not self._away:
                log.warning(
                    f"MLflow ({address()}) does not take records; the work goes on, and they wait "
                    f"in the folder {FOLDER}. Received: {one_line(error)}"
                )
            self._away = self._others_wait = True
            return False
        if self._away:
            log.info(f"MLflow ({address()}) answers again, and has all records")
        self._away = False
        return True


def deliver_waiting() -> Delivery:
    """Deliver the journals of processes that have ended, oldest first.

    If a journal cannot be delivered, the reason is in the result. If MLflow does not answer at all,
    UserError is raised.
    """
    delivered, in_use, reasons = 0, 0, []
    for path in journal_folders():
        journal = open_journal(path)
        if journal is None:
            in_use += path.exists()
            continue
        before = journal.delivered
        try:
            deliver(journal)
        except Exception as error:
            experiment_id()  # raises UserError if MLflow is away, so that nothing more is tried
            left = count_text(journal.waiting, "record")
            reasons.append(f"{left} in {FOLDER / path.name}: {one_line(error)}")
        finally:
            delivered += journal.delivered - before
            journal.release()
    return Delivery(delivered, tuple(reasons), in_use)


def deliver(journal: Journal) -> bool:
    """Deliver the records of a journal. If its run has ended, remove the journal, and return True.

    Raises the error of MLflow, or UserError, if a record must wait. A record that MLflow refuses is
    left out with a warning.
    """
    from mlflow.exceptions import MlflowException

    to = journal.records[0]["address"]
    if to != address():
        raise UserError(
            f"the records are for another MLflow; set MLFLOW_TRACKING_URI to it. Received: {to}"
        )
    while journal.waiting:
        record = journal.records[journal.delivered]
        try:
            KINDS[record["kind"]](journal, record)
        except MlflowException as error:
            if error.error_code not in REFUSED or record["kind"] in BEGIN:
                raise
            if not journal.refused:
                log.warning(f"MLflow refuses a record ({record['kind']}): {one_line(error)}")
            journal.refused = True
        journal.advance()
    # Another thread may have added a record since the loop.
    ended = bool(journal.records[journal.delivered - 1]["kind"] == "end")
    if ended:
        journal.remove()
    return ended


def run_with_tag(key: str, value: str, experiment: str | None = None) -> str | None:
    """Return the id of the newest run with this tag, or None.

    experiment: the name of the experiment; None means the present one.
    """
    found = _runs_with_tag(key, value, experiment)
    return found[0] if found else None


def waits_with_model(model_id: str) -> bool:
    """Return whether the run that trained this model still waits, so that MLflow cannot find it."""
    for path in journal_folders():
        with suppress(OSError, ValueError):
            lines = (path / "records").read_text(encoding="utf-8").splitlines()
            first = json.loads(lines[0])
            tag = f'"{MODEL_ID}": "{model_id}"'
            trained = first["kind"] == "run" and any(tag in line for line in lines)
            if trained and first["address"] == address():
                return True
    return False


def _runs_with_tag(key: str, value: str, experiment: str | None) -> list[str]:
    found = client().search_runs(
        [experiment_id(experiment)],
        filter_string=f"tags.{key} = '{value}'",
        order_by=["attributes.start_time DESC"],
        max_results=10,
    )
    return [run.info.run_id for run in found]


def _create(journal: Journal, record: Record) -> None:
    experiment = record["experiment"]
    if journal.tried:
        journal.run_id = run_with_tag(RUN_KEY, journal.key, experiment) or ""
    if not journal.run_id:
        journal.tried = True
        journal.save_cursor()
        created = client().create_run(
            experiment_id(experiment),
            start_time=record["time_ms"],
            tags={**record["tags"], RUN_KEY: journal.key},
            run_name=record["name"],
        )
        journal.run_id = created.info.run_id
    journal.save_cursor()


def _find(journal: Journal, record: Record) -> None:
    journal.run_id = record["run_id"]


def _find_or_adopt(journal: Journal, record: Record) -> None:
    """Find the run of a model. If there is none, the model was trained elsewhere: create a run."""
    model_id, experiment = record["tags"][MODEL_ID], record["experiment"]
    if waits_with_model(model_id):
        raise WaitingError("the run of this model must be delivered first")
    own = run_with_tag(RUN_KEY, journal.key, experiment) if journal.tried else None
    known = run_with_tag(MODEL_ID, model_id, experiment)
    if known and not own:
        journal.run_id = known
        return
    _create(journal, record)
    _log_inputs(journal, record)
    client().set_terminated(journal.run_id, "FINISHED", record["time_ms"])


def _log_inputs(journal: Journal, record: Record) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(**record["dataset"])
    context = InputTag("mlflow.data.context", "training")
    client().log_inputs(journal.run_id, [DatasetInput(dataset, [context])])


def _log_params(journal: Journal, record: Record) -> None:
    from mlflow.entities import Param

    params = [Param(name, value) for name, value in record["params"].items()]
    client().log_batch(journal.run_id, params=params)


def _log_metrics(journal: Journal, record: Record) -> None:
    from mlflow.entities import Metric

    time_ms, step = record["time_ms"], record["step"]
    metrics = [Metric(name, value, time_ms, step) for name, value in record["metrics"].items()]
    client().log_batch(journal.run_id, metrics=metrics)


def _set_tags(journal: Journal, record: Record) -> None:
    from mlflow.entities import RunTag

    tags = [RunTag(key, value) for key, value in record["tags"].items()]
    client().log_batch(journal.run_id, tags=tags)


def _log_file(journal: Journal, record: Record) -> None:
    if "copy" in record:
        file = journal.path / record["copy"]
    else:
        name, size, time_ns = record["source"]
        file = Path(name)
        if not file.is_file() or (file.stat().st_size, file.stat().st_mtime_ns) != (size, time_ns):
            log.warning(f"MLflow does not get a file, because it was changed meanwhile: {file}")
            return
    client().log_artifact(journal.run_id, str(file), record["folder"] or None)


def _log_text(journal: Journal, record: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, record["name"])
        file.write_text(record["text"], encoding="utf-8")
        client().log_artifact(journal.run_id, str(file), record["folder"] or None)


def _end(journal: Journal, record: Record) -> None:
    if "status" in record:
        time_ms = record.get("end_ms", record["time_ms"])
        client().set_terminated(journal.run_id, record["status"], time_ms)
    if is_remote() and journal.tried:
        for other in _runs_with_tag(RUN_KEY, journal.key, journal.records[0]["experiment"]):
            if other != journal.run_id:
                client().delete_run(other)


# The kinds of the first record say to which run a journal belongs.
BEGIN: Mapping[str, Callable[[Journal, Record], None]] = {
    "run": _create,
    "known": _find,
    "model": _find_or_adopt,
}
KINDS: Mapping[str, Callable[[Journal, Record], None]] = {
    **BEGIN,
    "inputs": _log_inputs,
    "params": _log_params,
    "metrics": _log_metrics,
    "tags": _set_tags,
    "file": _log_file,
    "text": _log_text,
    "end": _end,
}
