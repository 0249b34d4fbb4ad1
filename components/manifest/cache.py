"""A cache of manifest rows by path, size and modification time → the rows of unchanged files.

It is one sqlite table with a row per file, and it only saves time: the manifest is the same without
it. Rows are committed batch by batch while further files are read, so a killed run loses one batch.
A cache that is broken is deleted; one that cannot be opened is left unused; the log says so.
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

# By what, beside its path, a file is known to be the one that was read. Not ctime: a hard link
# changes it, and `fovea data add` links all files again. Bytes that were changed with size and time
# put back are found by `prepare`, which checks image_id, and by `fovea data verify`.
STATE = pa.schema([(name, pa.int64()) for name in ("size", "mtime_ns", "inode")])
BATCH = 1_000  # rows in a commit
READ_AT_ONCE = 10_000  # rows that are Python objects at a time
LOCKED_S = 2.0  # to wait for another process that writes

States = NDArray[np.int64]

# The state of a file that may change unnoticed. Its row is not kept, and no kept row equals it.
UNKNOWN = (-1,) * len(STATE)


class Cache:
    """Rows of files that were read before, and the sqlite file that they are kept in.

    rows: a column path, those of the caller, and those of STATE. Without a sqlite file there are
    no rows, and none are kept.
    """

    def __init__(self, rows: pa.Table, file: sqlite3.Connection | None, table: str) -> None:
        self.rows = rows
        self._file = file
        self._table = table

    def find(self, paths: pa.Array, states: States) -> NDArray[np.int64]:
        """Return int64 [N]: the place in `rows` of each unchanged file, -1 for all others.

        paths: str [N]. states: int64 [N, 3], the values of STATE as they are now.
        """
        if not self.rows.num_rows:
            return np.full(len(paths), -1)
        places = pc.index_in(paths, self.rows.column("path")).fill_null(-1).to_numpy()
        then = np.column_stack([self.rows.column(name).to_numpy() for name in STATE.names])
        same = (then[places] == states).all(axis=1)
        return np.where((places >= 0) & same, places, -1)

    def add(self, rows: pa.RecordBatch) -> None:
        """Keep the rows whose state is known, instead of older ones of the same paths."""
        lasting = rows.filter(pc.greater_equal(rows.column("size"), 0))
        marks = ", ".join("?" * len(lasting.schema))
        values = zip(*(column.to_pylist() for column in lasting.columns), strict=True)
        self._commit(f'INSERT OR REPLACE INTO "{self._table}" VALUES ({marks})', values)

    def drop_all_but(self, paths: pa.Array) -> None:
        """Drop the rows of files that are gone. paths: str [N], of the files that are there."""
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
            log.warning(f"files read from here on will be read again the next time ({error})")
            self.close()

    def close(self) -> None:
        """Close the sqlite file; what is added later is not kept."""
        if self._file is not None:
            self._file.close()
        self._file = None


@contextmanager
def open_cache(path: Path | None, recipe: str, schema: pa.Schema) -> Iterator[Cache]:
    """Open the cache at `path`, or an empty one that keeps nothing where `path` is None.

    recipe: names all that decides about a row beside the bytes of its file; rows by another recipe
    are dropped. schema: of the caller's columns, path first.
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
    """Open the cache, or an empty one where it was broken; None where it cannot be used now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _read(path, table, schema)
        except (sqlite3.DatabaseError, pa.ArrowException, ValueError) as error:
            # Operational: in use by another process, no rights, a disk that is full or fails.
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
    """Read the table of this name, made where it is missing; drop all others."""
    file = sqlite3.connect(path, timeout=LOCKED_S)
    try:
        file.text_factory = bytes  # Arrow checks that it is UTF-8, and then it is damage
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
