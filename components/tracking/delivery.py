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

A record that MLflow does not take holds back the later records of its run, because MLflow may be
away. It may also be a fault of this record only, such as a file for which the disk of the server
has no room. To find out, the tag CHECK_TAG of the run is set. If MLflow takes the tag, but does not
take the record at several attempts, the record moves into a journal of its own. There it waits, and
is tried again at each delivery.
"""

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from components.errors import UserError, one_line
from components.tracking.connection import address, client, experiment_id
from components.tracking.journal import Journal, create_journal, open_journal
from components.tracking.journal_files import (
    DAMAGED,
    FOLDER,
    Record,
    count_waiting,
    journal_folders,
)
from components.tracking.record_kinds import BEGIN, KINDS
from components.words import count_text

log = logging.getLogger(__name__)

# At the end of a stage, the stage waits this long for a server that is slow.
END_LIMIT_S = 10.0
# Between two attempts to reach a server that is away: the first pause, and the longest one.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
# MLflow answers a wrong request with one of these codes. The same request will never be accepted,
# unless nothing is accepted because the run or its experiment is deleted; it may be restored.
REFUSED = ("INVALID_PARAMETER_VALUE", "INVALID_STATE")
# Setting this tag of a run shows whether MLflow takes anything at all. It has no other meaning.
CHECK_TAG = "delivery_check"
# The pauses between the attempts with a record, if MLflow takes the tag.
ATTEMPT_PAUSES_S = (0.5, 2.0)


class _WrongRecordError(Exception):
    """MLflow will never take this record."""


@dataclass(frozen=True)
class Delivery:
    """What `deliver_waiting` has done.

    delivered: the number of records that MLflow got. reasons: why records are left, and where, for
    each journal. in_use: how many journals another process writes, which delivers them itself.
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
        try:
            journal = open_journal(path)
        except OSError as error:
            reasons.append(f"the records in {FOLDER / path.name} cannot be read: {one_line(error)}")
            continue
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

    Raises the error of MLflow, or UserError, if a record must wait. A wrong or damaged record is
    left out with a warning.
    """
    _check_first(journal)
    while journal.waiting:
        record = journal.records[journal.delivered]
        try:
            _send(journal, record)
        except _WrongRecordError as error:
            if not journal.refused:
                log.warning(f"MLflow refuses a record ({record['kind']}): {one_line(error)}")
            journal.refused = True
        journal.advance()
    # Another thread may have added a record since the loop.
    ended = bool(journal.records[journal.delivered - 1]["kind"] == "end")
    if ended:
        journal.remove()
    return ended


def _check_first(journal: Journal) -> None:
    """Raise UserError if the first record names another MLflow, or none."""
    first = journal.records[0]
    if first["kind"] not in BEGIN or "address" not in first:
        raise UserError(
            "the first line is damaged, so it is unknown to which run the others belong; correct "
            f"the line, or delete the folder. Received: {first.get('line', first)!s:.40}"
        )
    if first["address"] != address():
        raise UserError(
            "the records are for another MLflow; set MLFLOW_TRACKING_URI to it. "
            f"Received: {first['address']}"
        )


def _send(journal: Journal, record: Record) -> None:
    """Send a record. If MLflow does not take it, but takes others, move it into its own journal.

    Raises the error of MLflow if the record must wait. Raises _WrongRecordError if MLflow will
    never take the record.
    """
    from mlflow.exceptions import MlflowException

    if record["kind"] == DAMAGED:
        line = one_line(record["line"])
        log.warning(f"a damaged line in {FOLDER / journal.key} is left out. Received: {line}")
        return
    if record["kind"] not in KINDS:
        raise UserError(
            "a newer version of Fovea wrote a record; update Fovea, or delete the folder. "
            f"Received: {record['kind']}"
        )
    for pause_s in (*ATTEMPT_PAUSES_S, None):
        try:
            KINDS[record["kind"]](journal, record)
            return
        # The artifacts of a server, and files, raise errors that are an OSError.
        except (MlflowException, OSError) as error:
            if record["kind"] in BEGIN or journal.aside or not _takes_a_tag(journal):
                raise
            if isinstance(error, MlflowException) and error.error_code in REFUSED:
                raise _WrongRecordError(str(error)) from None
            if pause_s is None:
                _move_aside(journal, record, error)
                return
        time.sleep(pause_s)


def _takes_a_tag(journal: Journal) -> bool:
    """Return whether MLflow takes another record of this run."""
    with suppress(Exception):
        client().set_tag(journal.run_id, CHECK_TAG, "yes")
        return True
    return False


def _move_aside(journal: Journal, record: Record, error: Exception) -> None:
    """Move a record into a journal of its own, and say so. Raises `error` if the disk is full."""
    own = create_journal("known", run_id=journal.run_id, aside=True)
    own.add(**record)
    own.add("end")
    try:
        if own.unsaved:
            raise error
        if copy := record.get("copy"):
            (own.path / copy).parent.mkdir(parents=True)
            (journal.path / copy).rename(own.path / copy)
    except Exception:
        own.remove()
        raise
    own.release()
    log.warning(
        f"MLflow takes other records of the run, but not this one ({record['kind']}); it waits in "
        f"{FOLDER / own.key}, and `fovea sync` tries it again. Received: {one_line(error)}"
    )
