"""Path, size, modification time and inode of files → stored manifest rows of unchanged files.

The manifest is a table with one row per image file. The cache stores the rows of the manifest in an
sqlite table, so that only new and changed files are read. The cache only saves time. The manifest
is the same without the cache. Rows are committed in batches during a run, so a run that is killed
loses only its last batch. A broken cache is deleted, and a cache that cannot be opened is not used.
In both cases the log has a warning.
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

# A file counts as unchanged if its path and the values of STATE are the same as in the cache. The
# ctime of a file is not part of STATE, because a new hard link changes ctime, and `fovea data add`
# makes new links for all files. The cache does not notice a change if a program overwrites bytes
# inside a file, keeps the size of the file, and then sets its modification time to the old value.
# The stage `prepare` notices this change, because `prepare` compares the sha256 of each file with
# the image_id in the manifest. The command `fovea data verify` also notices this change.
STATE = pa.schema([(name, pa.int64()) for name in ("size", "mtime_ns", "inode")])
BATCH = 1_000  # maximum number of rows in a commit
READ_AT_ONCE = 10_000  # maximum number of rows that are Python objects at the same time
LOCKED_S = 2.0  # maximum time to wait while another process writes to the sqlite file

States = NDArray[np.int64]

# A placeholder for the state of a file whose row must not be stored, for example because the cache
# might not notice a later change of the file. A row with this state is not stored, so the file is
# read again in the next run.
UNKNOWN = (-1,) * len(STATE)


class Cache:
    """Rows of files that were read before, and the sqlite file in which they are stored.

    rows: the stored rows, a table with the caller's columns (including path) and the columns of
    STATE. file: the connection to the sqlite file; if it is None, new rows are not stored. table:
    the name of the sqlite table.
    """

    def __init__(self, rows: pa.Table, file: sqlite3.Connection | None, table: str) -> None:
        self.rows = rows
        self._file = file
        self._table = table

    def find(self, paths: pa.Array, states: States) -> NDArray[np.int64]:
        """Return int64 [N]: the index in `rows` of each unchanged file, -1 for every other file.

        paths: str [N], the paths of the files. states: int64 [N, 3], the current values of STATE of
        the files.
        """
        if not self.rows.num_rows:
            return np.full(len(paths), -1)
        places = pc.index_in(paths, self.rows.column("path")).fill_null(-1).to_numpy()
        then = np.column_stack([self.rows.column(name).to_numpy() for name in STATE.names])
        same = (then[places] == states).all(axis=1)
        return np.where((places >= 0) & same, places, -1)

    def add(self, rows: pa.RecordBatch) -> None:
        """Store the rows whose state is not UNKNOWN; they replace stored rows of the same paths."""
        lasting = rows.filter(pc.greater_equal(rows.column("size"), 0))
        marks = ", ".join("?" * len(lasting.schema))
        values = zip(*(column.to_pylist() for column in lasting.columns), strict=True)
        self._commit(f'INSERT OR REPLACE INTO "{self._table}" VALUES ({marks})', values)

    def drop_all_but(self, paths: pa.Array) -> None:
        """Delete the stored rows of pictures that are missing now.

        paths: str [N], the paths of all pictures that exist.
        """
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
                "the cache of the manifest cannot be written, so some image files are read "
                f"again in the next run ({error})"
            )
            self.close()

    def close(self) -> None:
        """Close the sqlite file; rows that are added later are not stored."""
        if self._file is not None:
            self._file.close()
        self._file = None


@contextmanager
def open_cache(path: Path | None, recipe: str, schema: pa.Schema) -> Iterator[Cache]:
    """Yield the cache in the file `path`.

    If `path` is None, yield an empty cache that stores nothing.

    path: the path of the sqlite file. recipe: a text that identifies everything that a row depends
    on, except the bytes of its file. Rows that were stored with another recipe or another schema
    are deleted. schema: the names and types of the caller's columns; the first column is path.
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
    """Open the cache. A broken cache is replaced by an empty cache.

    Return None if the file cannot be opened or locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _read(path, table, schema)
        except (sqlite3.DatabaseError, pa.ArrowException, ValueError) as error:
            # An OperationalError does not mean that the cache is broken. This error is raised, for
            # example, if another process uses the file, if rights are missing, or if the disk is
            # full.
            if isinstance(error, sqlite3.OperationalError):
                raise
            log.warning(
                f"the cache {path} is broken and is deleted, so every image file is read ({error})"
            )
            path.unlink()
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
            return _read(path, table, schema)
    except (sqlite3.Error, OSError) as error:
        log.warning(f"the cache {path} cannot be used, so every image file is read ({error})")
        return None


def _read(path: Path, table: str, schema: pa.Schema) -> Cache:
    """Read the sqlite table `table`. Create the table if it is missing. Delete all other tables."""
    file = sqlite3.connect(path, timeout=LOCKED_S)
    try:
        # sqlite returns texts as bytes, and Arrow decodes these bytes. If the bytes are not UTF-8,
        # Arrow raises an error, and the cache is treated as broken.
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
