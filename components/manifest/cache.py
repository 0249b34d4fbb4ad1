"""A cache of manifest rows by path, size and modification time → the rows of unchanged files.

The cache is one sqlite table with one row per file. It only saves time: the manifest is the same
without the cache. Rows are committed in batches while further files are read, so a run that is
killed loses only its last batch. A broken cache is deleted. A cache that cannot be opened is not
used. The log reports these two cases.
"""

import hashlib
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

log = logging.getLogger(__name__)

# A file is unchanged if its path and these values are the same as in the cache. ctime is not used,
# because a new hard link changes it, and `fovea data add` links all files again. The cache does not
# notice if someone changes the bytes of a file and then restores its size and time. The stage
# `prepare` notices it, since it checks image_id, and so does `fovea data verify`.
STATE = pa.schema([(name, pa.int64()) for name in ("size", "mtime_ns", "inode")])
BATCH = 1_000  # maximum number of rows in a commit
READ_AT_ONCE = 10_000  # maximum number of rows that are Python objects at the same time
LOCKED_S = 2.0  # maximum time to wait for another process that is writing

States = NDArray[np.int64]

# The state of a file that may change without notice. A row with this state is not stored, and no
# stored row has it, so the file is always read.
UNKNOWN = (-1,) * len(STATE)


class Cache:
    """Rows of files that were read before, and the sqlite file in which they are stored.

    rows: the caller's columns, of which one is path, then the columns of STATE. file: None if
    nothing can be stored; then `rows` is empty, and new rows are not stored.
    """

    def __init__(self, rows: pa.Table, file: sqlite3.Connection | None, table: str) -> None:
        self.rows = rows
        self._file = file
        self._table = table

    def find(self, paths: pa.Array, states: States) -> NDArray[np.int64]:
        """Return int64 [N]: the index in `rows` of each unchanged file, -1 for every other file.

        paths: str [N]. states: int64 [N, 3], the current values of STATE.
        """
        if not self.rows.num_rows:
            return np.full(len(paths), -1)
        places = pc.index_in(paths, self.rows.column("path")).fill_null(-1).to_numpy()
        then = np.column_stack([self.rows.column(name).to_numpy() for name in STATE.names])
        same = (then[places] == states).all(axis=1)
        return np.where((places >= 0) & same, places, -1)

    def add(self, rows: pa.RecordBatch) -> None:
        """Store the rows whose state is known; they replace older rows of the same paths."""
        lasting = rows.filter(pc.greater_equal(rows.column("size"), 0))
        marks = ", ".join("?" * len(lasting.schema))
        values = zip(*(column.to_pylist() for column in lasting.columns), strict=True)
        self._commit(f'INSERT OR REPLACE INTO "{self._table}" VALUES ({marks})', values)

    def drop_all_but(self, paths: pa.Array) -> None:
        """Delete the rows of files that are gone. paths: str [N], of all files that exist."""
        known = self.rows.column("path")
        gone = known.filter(pc.invert(pc.is_in(known, paths))).to_pylist()
        self._commit(f'DELETE FROM "{self._table}" WHERE path = ?', ((path,) for path in gone))

    def _commit(self, statement: str, values: Iterator[tuple[Any, ...]]) -> None:
        if self._file is None:
            return
        try:
            with self._file:
                self._file.executemany(statement, values)
        except sqlite3.Error as error:
            log.warning(
                "the cache cannot be written, so files that are read from now on are read again in "
                f"the next run ({error})"
            )
            self.close()

    def close(self) -> None:
        """Close the sqlite file; rows that are added later are not stored."""
        if self._file is not None:
            self._file.close()
        self._file = None


@contextmanager
def open_cache(path: Path | None, recipe: str, schema: pa.Schema) -> Iterator[Cache]:
    """Yield the cache at `path`; if `path` is None, an empty cache that stores nothing.

    recipe: a text that identifies everything that a row depends on, except the bytes of its file.
    Rows of other recipes are deleted. schema: the caller's columns; the first column is path.
    """
    schema = pa.schema([*schema, *STATE])
    table = hashlib.sha256(f"{recipe} {schema}".encode()).hexdigest()
    cache = (_open(path, table, schema) if path else None) or Cache(
        schema.empty_table(), None, table
    )
    try:
        yield cache
    finally:
        cache.close()


def _open(path: Path, table: str, schema: pa.Schema) -> Cache | None:
    """Open the cache, or an empty one if it is broken; return None if it cannot be used now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _read(path, table, schema)
        except (sqlite3.DatabaseError, pa.ArrowException, ValueError) as error:
            # An OperationalError does not mean a broken cache: another process uses the file, the
            # rights are missing, or the disk is full or fails.
            if isinstance(error, sqlite3.OperationalError):
                raise
            log.warning(f"{path} is broken and is deleted; every file is read ({error})")
            path.unlink()
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
            return _read(path, table, schema)
    except (sqlite3.Error, OSError) as error:
        log.warning(f"{path} cannot be used, so every file is read ({error})")
        return None


def _read(path: Path, table: str, schema: pa.Schema) -> Cache:
    """Read the table of this name; create it if it is missing, and delete all other tables."""
    file = sqlite3.connect(path, timeout=LOCKED_S)
    try:
        # Arrow, not sqlite, decodes texts: if a text is not UTF-8, the cache counts as broken.
        file.text_factory = bytes
        file.execute("PRAGMA synchronous = NORMAL")
        columns = ", ".join(f'"{name}"' for name in schema.names)
        with file:
            file.execute(f'CREATE TABLE IF NOT EXISTS "{table}" ({columns}, PRIMARY KEY (path))')
            tables = file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (name,) in tables:
                if name.decode() != table:
                    file.execute(f'DROP TABLE "{name.decode()}"')
        stored = file.execute(f'SELECT {columns} FROM "{table}"')
        batches = []
        while rows := stored.fetchmany(READ_AT_ONCE):
            arrays = map(pa.array, zip(*rows, strict=True), schema.types)
            batches.append(pa.record_batch(list(arrays), schema))
    except BaseException:
        file.close()
        raise
    return Cache(pa.Table.from_batches(batches, schema), file, table)
