"""A listing → a row for each picture: from the cache where its file did not change, else read."""

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
    # Large: with 768 bytes a picture, three million are more than the 2 GiB of a plain column.
    + [(name, ARROW.get(kind, pa.large_binary())) for name, kind in COLUMNS.items()]
)
# A clock behind mtime ticks every few milliseconds. A file that was written just before it was read
# may be written again in the same tick, and mtime would not show it. So it is read once more.
SETTLED_NS = 50_000_000

COMMIT_S = 5.0  # between commits, at most: what a kill can cost
LONG_RUN = 20  # rows; pieces shorter than that cost more than a copy

State = tuple[int, ...]


def read_pictures(
    root: Path, listing: Listing, params: Decode, cache: Cache, folder: Path
) -> pa.Table:
    """Return a row with SCHEMA's columns for every entry, in their order.

    path is written by `escape_name`. md5 is that of the file, None where it could not be read.
    folder: where arrays of an .npz are unpacked.
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
    r"""Escape what is not UTF-8 in a name, so that tables can hold it.

    >>> escape_name("cat/\udcff.png")
    'cat/\\udcff.png'
    """
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def _states(root: Path, paths: Sequence[str], folders: frozenset[str]) -> list[State]:
    """Return STATE of the file of each picture; UNKNOWN for what is no plain file below `root`.

    folders: those below `root`. A path through a link is in none of them, and leads elsewhere.
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
    except (OSError, ValueError):  # it is missing, or its name has a zero byte
        return UNKNOWN
    if not stat.S_ISREG(status.st_mode):
        return UNKNOWN
    inode = status.st_ino & (2**63 - 1)  # has 64 bits, and int64 has 63 beside the sign
    return status.st_size, status.st_mtime_ns, inode


def _read(
    root: Path, files: Sequence[tuple[str, State]], params: Decode, folder: Path
) -> Iterator[pa.RecordBatch]:
    """Yield batches of rows with the columns of SCHEMA and STATE."""
    # An array file is unpacked and mapped once by threads; each process would hash it first.
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
    """Gather rows into batches of BATCH, or fewer where these take longer than COMMIT_S."""
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
    """Return the rows at these places. Long runs are slices, which copies nothing."""
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
    except Fault as fault:  # nothing was read, so a row in the cache would save nothing
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
