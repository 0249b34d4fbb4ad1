"""Records of what an MLflow run shall have → a folder below .fovea/tracking; the folder → records.

A record is one request to MLflow, such as the metrics of an epoch. It is written here first, so
that neither a server that is away nor a killed process loses it. A journal is the folder of one
run. It contains:

- `records`: one JSON object for each line, in order. A killed process or a full disk can leave an
  incomplete last line, which is ignored. A damaged line costs only its own record.
- `cursor`: how many records MLflow has, and the id of the run in MLflow. If the process is killed
  between a request and the next write of this file, a record is sent twice; delivery.py says why
  MLflow has it once all the same. If this file is damaged, all records are sent again.
- `files`: copies of the files that wait, because the stages write their files again.
- `lock`: locked (flock) by the process that writes or delivers the journal. The kernel releases the
  lock when the process ends. So a journal that can be locked belongs to no living process.

Example: a training logs 3 epochs while the server is away, and is killed in the fourth. The journal
has the records run, inputs, params, metrics, metrics, metrics. The next stage locks it, adds the
record `end` with the status KILLED, delivers all seven records and removes the folder.
"""

import errno
import fcntl
import json
import logging
import os
import secrets
import shutil
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.tracking.connection import address, experiment_name
from components.tracking.journal_files import Record, folder, parse_records, read_cursor
from components.words import size_text

log = logging.getLogger(__name__)

# The copies of all journals together take at most this many bytes. A further file is delivered from
# its own place, if it is still unchanged then.
MOST_BYTES = 2 * 2**30
# A folder without a record is from a process that was killed when it created the folder, or from a
# process that is creating it now.
CREATED_WITHIN_S = 60.0


def now_ms() -> int:
    """Return the time as MLflow has it: Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class Journal:
    """The records of one run. Only the process that has locked the journal may use it.

    records: all records, oldest first. delivered: how many of them MLflow has. run_id: the id of
    the run in MLflow; empty if the run is not created yet. tried: whether a request to create the
    run was sent, perhaps without an answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self.delivered = 0
        self.run_id = ""
        self.tried = False
        self._descriptors: list[int] = []  # of the lock and of the records
        self._saved = 0  # records in the file
        self._end = 0  # bytes of these records
        self.refused = False  # whether a warning said that MLflow refuses a record
        self._complained = False
        self._saving = threading.Lock()  # a thread delivers while another one adds records

    @property
    def key(self) -> str:
        """Return the name of the journal. It is a tag of the run, so MLflow finds the run by it."""
        return self.path.name

    @property
    def waiting(self) -> int:
        """Return how many records MLflow does not have."""
        return len(self.records) - self.delivered

    @property
    def aside(self) -> bool:
        """Return whether the journal has one record, which MLflow did not take before."""
        return bool(self.records[0].get("aside"))

    @property
    def ended(self) -> bool:
        """Return whether the last record is there."""
        return bool(self.records[-1]["kind"] == "end")

    @property
    def unsaved(self) -> int:
        """Return how many records neither MLflow nor the disk has."""
        return len(self.records) - max(self._saved, self.delivered)

    def add(self, kind: str, **fields: Any) -> None:
        """Add a record with the present time, and write it to the disk.

        If the disk is full, a warning is logged, and the record stays in memory until it can be
        written or is delivered. No error of the disk is raised, because the work must go on.
        """
        self.records.append({"kind": kind, "time_ms": now_ms(), **fields})
        self._save()

    def add_file(self, file: Path, target: str) -> None:
        """Add a file that MLflow shall have in the folder `target` of the run's artifacts."""
        state = file.stat()
        copy = self._new_copy(file.name)
        try:
            if _size(folder()) + state.st_size > MOST_BYTES:
                raise OSError(errno.EDQUOT, f"files that wait take {size_text(MOST_BYTES)} at most")
            copy.parent.mkdir(parents=True)
            shutil.copyfile(file, copy)
        except OSError as error:
            shutil.rmtree(copy.parent, ignore_errors=True)
            self._complain(error)
            source = [str(file.absolute()), state.st_size, state.st_mtime_ns]
            self.add("file", source=source, folder=target)
        else:
            self.add("file", copy=str(copy.relative_to(self.path)), folder=target)

    def advance(self) -> None:
        """Note that MLflow has one more record, and remove the copy of its file."""
        record = self.records[self.delivered]
        self.delivered += 1
        self.save_cursor()
        if copy := record.get("copy"):
            shutil.rmtree((self.path / copy).parent, ignore_errors=True)

    def save_cursor(self) -> None:
        """Write the file `cursor`. If this fails, records are sent again, which does no harm."""
        cursor = {"delivered": self.delivered, "run_id": self.run_id, "tried": self.tried}
        part = self.path / "cursor.part"
        with suppress(OSError):
            part.write_text(json.dumps(cursor), encoding="utf-8")
            part.replace(self.path / "cursor")

    def sync(self) -> None:
        """Write records that wait in memory, and wait until the disk has all records."""
        if self._saved < len(self.records):
            self._save()
        if self._descriptors:
            with suppress(OSError):
                os.fsync(self._descriptors[-1])

    def remove(self) -> None:
        """Remove the folder, and unlock it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Unlock the journal, so that another process can deliver it."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _save(self) -> None:
        with self._saving:
            try:
                self._write()
            except OSError as error:
                self._complain(error)

    def _write(self) -> None:
        if not self._descriptors:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock(wait=True)
        while self._saved < len(self.records):
            line = json.dumps(self.records[self._saved]).encode() + b"\n"
            # After an incomplete write, the next write starts at the same place again.
            if os.pwrite(self._descriptors[-1], line, self._end) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._end += len(line)
            self._saved += 1

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.warning(
                "what waits for MLflow cannot be written to the disk, so a killed process would "
                f"lose it; free some space; the work goes on. Received: {error}: {self.path}"
            )

    def _new_copy(self, name: str) -> Path:
        return self.path / "files" / str(len(self.records)) / name

    def _lock(self, wait: bool) -> bool:
        """Lock the journal. Return False if another process has locked or removed it.

        Raises OSError if the files cannot be opened, for example those of another user.
        """
        try:
            self._descriptors = [self._open("lock")]
            lock = self._descriptors[0]
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if not os.path.samestat(os.fstat(lock), (self.path / "lock").stat()):
                raise FileNotFoundError(self.path)
            self._descriptors.append(self._open("records"))
        except (BlockingIOError, FileNotFoundError):
            self.release()
            return False
        except OSError:
            self.release()
            raise
        return True

    def _open(self, name: str) -> int:
        return os.open(self.path / name, os.O_RDWR | os.O_CREAT, 0o666)

    def _read(self) -> None:
        """Read the records and the cursor of a journal that is locked."""
        content = (self.path / "records").read_bytes()
        self.records = parse_records(content)
        self._end, self._saved = content.rfind(b"\n") + 1, len(self.records)
        os.ftruncate(self._descriptors[-1], self._end)
        delivered, self.run_id, self.tried = read_cursor(self.path)
        self.delivered = min(delivered, self._saved)


def create_journal(kind: str, **fields: Any) -> Journal:
    """Create and lock a journal with its first record, which says to which run it belongs.

    The first record also has the name of the experiment, and the address of MLflow without a
    password, because the journal is delivered nowhere else.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}"
    journal = Journal(folder() / name)
    journal.add(kind, address=address(), experiment=experiment_name(), **fields)
    return journal


def open_journal(path: Path) -> Journal | None:
    """Lock and read a journal. Return None if another process uses it, or if it is removed.

    The process that wrote the journal has ended. If it has not ended its run, the record `end` with
    the status KILLED is added.
    Raises OSError if the files cannot be read, for example those of another user.
    """
    journal = Journal(path)
    if not journal._lock(wait=False):
        return None
    try:
        journal._read()
    except OSError:
        journal.release()
        raise
    # The process may have been killed before it could note that it tried to create the run.
    journal.tried = True
    if not journal.records:
        if _is_old(path):
            journal.remove()
        journal.release()
        return None
    if journal.records[-1]["kind"] != "end":
        last_ms = max(record.get("time_ms", 0) for record in journal.records)
        killed = {"status": "KILLED", "end_ms": last_ms}
        journal.add("end", **(killed if journal.records[0]["kind"] == "run" else {}))
    return journal


def _is_old(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > CREATED_WITHIN_S
    return False


def _size(top: Path) -> int:
    files = (Path(parent, name) for parent, _, names in os.walk(top) for name in names)
    total = 0
    for file in files:
        with suppress(FileNotFoundError):  # another process delivers and removes files
            total += file.stat().st_size
    return total
