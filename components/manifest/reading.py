"""The list of all pictures in data/raw → one row of the manifest per picture.

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
from components.sources.dvc_cache import linked_object
from components.sources.listing import Listing
from components.sources.reading import file_of, read_bytes
from components.words import count_text

log = logging.getLogger(__name__)

ARROW = {"str": pa.string(), "int64": pa.int64(), "Int64": pa.int64(), "float64": pa.float64()}
SCHEMA = pa.schema(
    [("path", pa.string()), ("md5", pa.string())]
    # An Arrow column of the type `binary` can hold at most 2 GiB. A fingerprint has 768 bytes, so
    # the fingerprints of three million pictures need more. So their column has the type
    # `large_binary`.
    + [(name, ARROW.get(kind, pa.large_binary())) for name, kind in COLUMNS.items()]
)
# The clock of mtime advances only every few milliseconds. If a file is read and then written again
# before the clock advances, mtime does not show the second write. So the row of a file is not
# stored in the cache if the file was written less than SETTLED_NS nanoseconds before it was read.
SETTLED_NS = 50_000_000

COMMIT_S = 5.0  # after this time a batch ends even if it has fewer than BATCH rows
# The function `_arrange` returns slices of a table if the slices have at least this number of rows
# on average. Copying the rows is faster if the slices are shorter.
LONG_RUN = 20

State = tuple[int, ...]  # the size, the modification time and the inode number of a file


def read_pictures(
    root: Path, listing: Listing, params: Decode, cache: Cache, folder: Path
) -> pa.Table:
    """Return one row with the columns of SCHEMA for each entry of `listing`, in the same order.

    The column path is escaped by `escape_name`. The column md5 has the md5 (hex) of the picture's
    file. If a picture is an element of an array file (a .npy or .npz file), the column has the
    md5 of the whole array file. The md5 is null if the picture could not be read or the
    name of its file is not UTF-8.

    root: the folder with the files. listing: the list of all pictures. params: the section
    `ingest.decode` of params.yaml. cache: the rows of earlier runs; new rows are added to the
    cache, and the rows of missing pictures are deleted. folder: the folder into which arrays of an
    .npz are unpacked.
    Raises UserError if an array file is damaged, if the disk has too little space for unpacked
    arrays, or if a worker process was killed or has no memory left.
    """
    paths = [entry.path for entry in listing.entries]
    states = _states(root, paths, listing.folders)
    places = cache.find(pa.array(map(escape_name, paths), pa.string()), np.array(states, np.int64))
    new = np.flatnonzero(places < 0)
    log.info(
        f"{count_text(len(new), 'image')} to read, {len(paths) - len(new):,} unchanged since an "
        "earlier run"
    )
    fresh = [cache.rows]
    for batch in _read(root, [(paths[at], states[at]) for at in new], params, folder):
        cache.add(batch)
        fresh.append(pa.Table.from_batches([batch]))
    places[new] = cache.rows.num_rows + np.arange(len(new))
    rows = _arrange(pa.concat_tables(fresh), places)
    cache.drop_all_but(rows.column("path"))
    return rows.select(SCHEMA.names)


def escape_name(name: str) -> str:
    r"""Escape the bytes of a name that are not UTF-8, so that tables can contain the name.

    >>> escape_name("cat/\udcff.png")
    'cat/\\udcff.png'
    """
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def _states(root: Path, paths: Sequence[str], folders: frozenset[str]) -> list[State]:
    """Return the current state (size, modification time, inode) of the file of each picture.

    The state of a link into DVC's cache is the state of the file in the cache.
    The state is UNKNOWN in three cases: the file is missing or is no plain file, its path is not
    UTF-8, or its path leads through a symbolic link to a folder. In the third case the file may be
    outside of `root`.

    root: the folder with the files. paths: the paths of the pictures. folders: the paths of all
    folders in `root`, without symbolic links. A path whose folder is not in `folders` leads through
    a symbolic link.
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
        if stat.S_ISLNK(status.st_mode) and (linked := linked_object(file)):
            status = os.lstat(linked)
    except (OSError, ValueError):  # the file is missing, or its name has a zero byte
        return UNKNOWN
    if not stat.S_ISREG(status.st_mode):
        return UNKNOWN
    inode = status.st_ino & (2**63 - 1)  # set the highest of 64 bits to 0, so that int64 is enough
    return status.st_size, status.st_mtime_ns, inode


def _read(
    root: Path, files: Sequence[tuple[str, State]], params: Decode, folder: Path
) -> Iterator[pa.RecordBatch]:
    """Yield batches of rows with the columns of SCHEMA and STATE."""
    # Array files are read by threads, because all threads can use the same memory map of an array.
    # With processes, each process would have to hash the whole array file before it can map the
    # array. Usually all pictures of a data set are in array files or none, so the first decides.
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
    """Gather rows into batches. A batch ends when it has BATCH rows or is older than COMMIT_S."""
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

    A run is a sequence of rows that are consecutive in `rows` and also in the result. If the runs
    have at least LONG_RUN rows on average, the result consists of slices of `rows`, one for each
    run. Otherwise the rows are copied one by one.
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
    except Fault as fault:
        # With the state UNKNOWN the row is not stored in the cache, since this would save no time.
        return row | facts_of(fault.facts) | {"fault": fault.code} | _state_columns(UNKNOWN)
    if row["path"] != path:  # the name of the file is not UTF-8
        known = {"bytes": len(data), "image_id": hashlib.sha256(data).hexdigest()}
        return row | known | {"fault": "unreadable_name"} | _state_columns(UNKNOWN)
    # The row is stored only if the file was not changed shortly before or while it was read.
    lasts = state[1] < begun_ns - SETTLED_NS and _state(f"{root}/{file}") == state
    state = state if lasts else UNKNOWN
    return row | {"md5": md5} | image_row(data, params) | _state_columns(state)


def _state_columns(state: State) -> dict[str, int]:
    return dict(zip(STATE.names, state, strict=True))


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
