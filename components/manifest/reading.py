"""A listing of pictures → one row per picture.

The row comes from the cache if the picture's file is unchanged. Otherwise the file is read.
"""

import hashlib
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.images.fault import Fault
from components.manifest.cache import BATCH, STATE, UNKNOWN, Cache
from components.manifest.rows import COLUMNS, facts_of, image_row
from components.parallel import in_processes, in_threads
from components.params.ingest import Decode
from components.progress import track
from components.sources.array_files import file_md5
from components.sources.arrays import array_file
from components.sources.listing import Listing
from components.sources.reading import file_of, read_bytes

log = logging.getLogger(__name__)

ARROW = {"str": pa.string(), "int64": pa.int64(), "Int64": pa.int64(), "float64": pa.float64()}
SCHEMA = pa.schema(
    [("path", pa.string()), ("md5", pa.string())]
    # A plain binary column holds at most 2 GiB. Fingerprints of three million pictures, with 768
    # bytes each, need more, so the column is `large_binary`.
    + [(name, ARROW.get(kind, pa.large_binary())) for name, kind in COLUMNS.items()]
)
# The clock of mtime advances only every few milliseconds. If a file is read and then written again
# before the clock advances, mtime does not show the second write. So the row of a file is not
# stored in the cache if the file was written less than SETTLED_NS nanoseconds before it was read.
SETTLED_NS = 50_000_000

COMMIT_S = 5.0  # after this time a batch ends even if it has fewer than BATCH rows
# If the runs of consecutive rows in `_arrange` have fewer rows than this on average, copying all
# rows is faster than slicing the runs.
LONG_RUN = 20

State = tuple[int, ...]


def read_pictures(
    root: Path, listing: Listing, params: Decode, cache: Cache, folder: Path
) -> pa.Table:
    """Return one row with the columns of SCHEMA for each entry of `listing`, in the same order.

    The column path is escaped by `escape_name`. The column md5 has the md5 (hex) of the picture's
    file. For a picture in an array file, this is the md5 of the whole array file. The md5 is null
    if the picture could not be read or the name of its file is not UTF-8.

    root: the folder with the files. cache: the rows of earlier runs; new rows are added to it.
    folder: the folder into which arrays of an .npz are unpacked.
    Raises UserError if an array file as a whole is damaged, if the disk has too little room for
    unpacked arrays, or if a worker process was killed or has no memory left.
    """
    paths = [entry.path for entry in listing.entries]
    states = _states(root, paths, listing.folders)
    places = cache.find(pa.array(map(escape_name, paths), pa.string()), np.array(states, np.int64))
    new = np.flatnonzero(places < 0)
    log.info(f"{len(new):,} images to read, {len(paths) - len(new):,} known already")
    fresh = [cache.rows]
    for batch in _read(root, [(paths[at], states[at]) for at in new], params, folder):
        cache.add(batch)
        fresh.append(pa.Table.from_batches([batch]))
    places[new] = cache.rows.num_rows + np.arange(len(new))
    rows = _arrange(pa.concat_tables(fresh), places)
    cache.drop_all_but(rows.column("path"))
    return rows.select(SCHEMA.names)


def escape_name(name: str) -> str:
    r"""Escape the bytes of a name that are not UTF-8, so that tables can hold the name.

    >>> escape_name("cat/\udcff.png")
    'cat/\\udcff.png'
    """
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def _states(root: Path, paths: Sequence[str], folders: frozenset[str]) -> list[State]:
    """Return the current STATE of each picture's file; UNKNOWN if it is no plain file in `root`.

    folders: all folders below `root`, without symbolic links to folders. If the folder of a file is
    not in this set, the path leads through such a link. The file may be outside of `root`, so its
    state is UNKNOWN. If the path of a file is not UTF-8, the state is also UNKNOWN.
    """

    below = os.fspath(root)

    def state_of(file: str) -> State:
        inside = file.rpartition("/")[0] in folders and escape_name(file) == file
        return _state(f"{below}/{file}") if inside else UNKNOWN

    of_array = lru_cache(maxsize=None)(state_of)
    holders = map(array_file, paths)
    return [
        state_of(path) if holder is None else of_array(holder)
        for path, holder in zip(paths, holders, strict=True)
    ]


def _state(file: str) -> State:
    try:
        status = os.lstat(file)
    except (OSError, ValueError):  # the file is missing, or its name has a zero byte
        return UNKNOWN
    if not stat.S_ISREG(status.st_mode):
        return UNKNOWN
    inode = status.st_ino & (2**63 - 1)  # drop the highest of 64 bits, so the number fits in int64
    return status.st_size, status.st_mtime_ns, inode


def _read(
    root: Path, files: Sequence[tuple[str, State]], params: Decode, folder: Path
) -> Iterator[pa.RecordBatch]:
    """Yield batches of rows with the columns of SCHEMA and STATE."""
    # Array files are read by threads, because all threads use one unpacked and mapped copy of an
    # array file. A worker process would have to hash the whole array file before it can use a copy.
    at_once = in_threads if any(array_file(path) for path, _ in files[:1]) else in_processes
    rows: Iterable[dict[str, Any]] = at_once(partial(_row, root, params, folder), files)
    if files:
        rows = track(rows, "images read", total=len(files))
    schema = pa.schema([*SCHEMA, *STATE])
    for batch in _batches(rows):
        columns = [
            pa.array([row.get(name) for row in batch], schema.field(name).type)
            for name in schema.names
        ]
        yield pa.record_batch(columns, schema)


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Gather rows into batches; a batch ends after BATCH rows or, if this is earlier, COMMIT_S."""
    batch: list[dict[str, Any]] = []
    begun_s = time.monotonic()
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH or time.monotonic() - begun_s > COMMIT_S:
            yield batch
            batch, begun_s = [], time.monotonic()
    if batch:
        yield batch


def _arrange(rows: pa.Table, places: NDArray[np.int64]) -> pa.Table:
    """Return the rows at the indices `places`, in the order of `places`.

    A run is a sequence of rows that are consecutive in `rows` and in the result. If the runs
    have at least LONG_RUN rows on average, they are sliced from `rows`. Otherwise all rows are
    copied.
    """
    starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    if len(starts) > len(places) / LONG_RUN:
        return rows.take(pa.array(places))
    lengths = np.diff(starts, append=len(places)).tolist()
    first = places[starts].tolist()
    return pa.concat_tables(rows.slice(*run) for run in zip(first, lengths, strict=True))


def _row(root: Path, params: Decode, folder: Path, picture: tuple[str, State]) -> dict[str, Any]:
    path, state = picture
    begun_ns = time.time_ns()
    row: dict[str, Any] = {"path": escape_name(path), "bytes": 0}
    try:
        data = read_bytes(root, path, params.max_bytes, folder)
        file = file_of(root, path)
        md5 = _md5(data) if file == path else file_md5(root, file, state)
    except Fault as fault:  # UNKNOWN: the row is not stored, because this would save no time
        return row | facts_of(fault.facts) | {"fault": fault.code} | _state_columns(UNKNOWN)
    if row["path"] != path:
        known = {"bytes": len(data), "image_id": hashlib.sha256(data).hexdigest()}
        return row | known | {"fault": "unreadable_name"} | _state_columns(UNKNOWN)
    lasts = state[1] < begun_ns - SETTLED_NS and _state(f"{root}/{file}") == state
    state = state if lasts else UNKNOWN
    return row | {"md5": md5} | image_row(data, params) | _state_columns(state)


def _state_columns(state: State) -> dict[str, int]:
    return dict(zip(STATE.names, state, strict=True))


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
