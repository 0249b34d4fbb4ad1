"""Files as they stand, rows of files read before → the rows that still hold; it only saves time.

The memory is one sqlite file of batches of rows (Arrow IPC streams), each with its checksum. A
batch is committed while further files are read, so a killed run goes on where it was. Whatever is
wrong with the memory, it is thrown away or done without, with a line.
"""

import logging
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

log = logging.getLogger(__name__)


# What tells, beside its path, that a file is the one that was read. Not ctime: a hard link changes
# it, and `fovea data add` links all files anew. Bytes that were changed with size and time put back
# are found by `prepare`, which checks image_id, and by `fovea data verify`.
STATE = pa.schema([(name, pa.int64()) for name in ("size", "mtime_ns", "inode")])
BATCH = 1_000  # rows in a commit
LOCKED_S = 2.0  # to wait for another process that writes
# A rewrite costs more than rows that no longer hold, unless they are many, or in many batches.
DEAD_SHARE = 0.1
SMALL_BATCHES = 500
OURS = 0x466F7665  # application_id: "Fove"
# What others or the disk do, as against a file that is broken. These are primary codes.
PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
)

States = NDArray[np.int64]


# Of a file that cannot be told from a later one; its row is not kept, and equals none that is.
UNKNOWN = (-1,) * len(STATE)


class Known:
    """Rows of files read before, and the file that they are kept in, if there is one.

    rows: a column path, those of STATE, and those of the caller.
    """

    def __init__(self, rows: pa.Table, file: sqlite3.Connection | None, recipe: str) -> None:
        self.rows = rows
        self._file = file
        self._recipe = recipe
        self._kept = rows.num_rows
        self._batches = rows.column("path").num_chunks

    def find(self, paths: pa.Array, states: States) -> NDArray[np.int64]:
        """Return int64 [N]: the row in `rows` that holds for each file, or -1.

        paths: str [N]. states: int64 [N, 3], the values of STATE.
        """
        if not self.rows.num_rows:
            return np.full(len(paths), -1)
        # The newest batch stands first, and the first place is what index_in tells.
        places = pc.index_in(paths, self.rows.column("path")).fill_null(-1).to_numpy()
        then = np.column_stack([self.rows.column(name).to_numpy() for name in STATE.names])
        same = (then[places] == states).all(axis=1)
        return np.where((places >= 0) & same, places, -1)

    def add(self, rows: pa.RecordBatch) -> None:
        """Remember those of the rows whose file is known; after this, no kill loses them."""
        lasting = rows.filter(_lasting(rows))
        if lasting.num_rows:
            self._write([lasting])
            self._kept += lasting.num_rows
            self._batches += 1

    def settle(self, rows: pa.Table) -> None:
        """Drop the rows of files that are gone or have changed, if they have become many.

        rows: all that hold now, with the columns of `self.rows`.
        """
        dead = self._kept - pc.sum(_lasting(rows)).as_py()
        if dead > DEAD_SHARE * self._kept or self._batches > SMALL_BATCHES + self._kept / BATCH:
            living = rows.filter(_lasting(rows)).combine_chunks()
            self._write(living.to_batches(max_chunksize=10 * BATCH), instead=True)

    def _write(self, batches: Iterable[pa.RecordBatch], instead: bool = False) -> None:
        if self._file is None:
            return
        try:
            self._file.execute("BEGIN IMMEDIATE")
            if instead:
                self._file.execute("DELETE FROM batches")
            for batch in batches:
                packed = _packed(batch)
                row = (self._recipe, zlib.crc32(packed), packed)
                self._file.execute("INSERT INTO batches VALUES (?, ?, ?)", row)
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            log.warning(f"what is read now will be read again the next time ({error})")
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


def _lasting(rows: Any) -> Any:
    """Tell of each row, of a batch or table, whether it says what its file was like."""
    return pc.greater_equal(rows.column("size"), 0)


@contextmanager
def remembered(path: Path | None, recipe: str, schema: pa.Schema) -> Iterator[Known]:
    """Open the memory at `path`, or none; rows by another recipe are dropped.

    schema: of the caller's columns, path first.
    """
    whole = pa.schema([*schema, *STATE])
    found = _opened(path, recipe, whole) if path else None
    known = found or Known(whole.empty_table(), None, recipe)
    try:
        yield known
    finally:
        known.close()


def _opened(path: Path, recipe: str, schema: pa.Schema) -> Known | None:
    """Open the file, thrown away and made anew if it is broken; None where it cannot be had."""
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _read(path, recipe, schema)
        except (sqlite3.Error, pa.ArrowException, OSError, ValueError) as error:
            problem = error
        if isinstance(problem, OSError) or _passes(problem):
            break
        log.warning(f"{path} is broken and begins anew; every file is read ({problem})")
        with suppress(OSError):
            path.unlink()
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    log.warning(f"{path} cannot be used, so every file is read ({problem})")
    return None


def _passes(problem: Exception) -> bool:
    """Tell by the low byte, for an extended code (266, a failed read) has its primary one there."""
    return getattr(problem, "sqlite_errorcode", 0) & 0xFF in PASSING


def _read(path: Path, recipe: str, schema: pa.Schema) -> Known:
    file = sqlite3.connect(path, timeout=LOCKED_S, isolation_level=None)
    try:
        file.execute("PRAGMA synchronous = NORMAL")
        _make_ours(file)
        file.execute("DELETE FROM batches WHERE recipe != ?", (recipe,))
        asked = "SELECT checksum, rows FROM batches ORDER BY rowid DESC"
        tables = [_unpacked(row, schema) for row in file.execute(asked)]
    except BaseException:
        file.close()
        raise
    return Known(pa.concat_tables([schema.empty_table(), *tables]), file, recipe)


def _make_ours(file: sqlite3.Connection) -> None:
    """Lay out an empty file. Raises sqlite3.Error where it is somebody else's."""
    (owner,) = file.execute("PRAGMA application_id").fetchone()
    if owner == OURS:
        return
    (tables,) = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables:
        raise sqlite3.DatabaseError("it is not ours")
    file.execute("BEGIN IMMEDIATE")
    file.execute("CREATE TABLE IF NOT EXISTS batches (recipe TEXT, checksum INTEGER, rows BLOB)")
    file.execute(f"PRAGMA application_id = {OURS}")
    file.execute("COMMIT")


def _packed(rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_batch(rows)
    return bytes(sink.getvalue())


def _unpacked(row: tuple[object, object], schema: pa.Schema) -> pa.Table:
    checksum, packed = row
    if not isinstance(packed, bytes) or zlib.crc32(packed) != checksum:
        raise ValueError("a batch of rows is damaged")
    with pa.ipc.open_stream(packed) as stream:
        rows = stream.read_all()
    if rows.schema != schema:
        raise ValueError("a batch has other columns")
    return rows
