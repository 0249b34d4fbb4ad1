"""data/raw → the manifest, a table with one row per picture, sorted by path.

A picture that cannot be used also has a row. The column `fault` of this row says why. The file of
such a picture may be broken or unreadable, or it may be a symbolic link, a pipe or a device. Files
outside of the folder data/raw are never read.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa

from components.errors import UserError
from components.manifest.cache import open_cache
from components.manifest.reading import SCHEMA, escape_name, read_pictures
from components.manifest.rows import COLUMNS as OF_IMAGE
from components.manifest.rows import recipe
from components.params.ingest import Ingest
from components.sources.listing import Listing
from components.sources.reading import file_of
from components.sources.source import open_source
from components.words import count_text, name_list, printable

log = logging.getLogger(__name__)

CACHE = "known.sqlite"  # the file name of the cache
# The columns that say where a picture is and what its source says about the picture.
OF_PLACE = {"path": "str", "label": "str", "group": "str", "given_split": "str"}
COLUMNS = OF_PLACE | OF_IMAGE
TYPES = {pa.int64(): pd.Int64Dtype(), pa.large_binary(): pd.ArrowDtype(pa.large_binary())}
# Names of the columns that later stages add to the manifest. If the user lists the images in a
# table, the extra columns of the user's table are copied into the manifest (see `build_manifest`).
# So the name of an extra column must not be in LATER or COLUMNS.
LATER = ("split", "fold", "label_index", "reason", "because_of")


def build_manifest(
    root: Path,
    params: Ingest,
    state: Path | None = None,
    recorded: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return the manifest: one row per picture below `root`, with the columns COLUMNS.

    If the user lists the images in a table, the extra columns of the user's table come after
    COLUMNS, as text. Extra columns are all columns of the user's table except its path, label,
    group and split.

    root: the folder with the pictures, such as data/raw. params: the section `ingest` of
    params.yaml.
    state: a folder for unpacked arrays and the cache of rows. With the cache, the next run reads
    only new and changed files. If `state` is None, nothing is stored for the next run. The files in
    the folder may be deleted between runs. The manifest is the same with and without the folder.
    recorded: path of a file → the md5 (hex) that DVC has recorded for this file. A file whose path
    is not in `recorded` is not checked.

    Raises UserError in these cases:

    - There are no pictures, or fewer than two labels.
    - The pictures are not stored in the way that `ingest.source` says.
    - A column of the user's table has a reserved name (a name in COLUMNS or LATER).
    - An array file is damaged, or the disk has too little space for unpacked arrays.
    - A worker process was killed or has no memory left.
    - The content of a file is not what DVC has recorded.
    """
    listing = open_source(root, params.source)
    for note in listing.notes:
        log.info(f"{note}")
    _check_columns(listing.columns)
    rows = _rows(root, listing, params, state)
    _check_recorded(root, rows, recorded or {})
    return _manifest(listing, rows)


def as_manifest(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with the columns and types of a manifest; missing values are null."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _rows(root: Path, listing: Listing, params: Ingest, state: Path | None) -> pa.Table:
    file = state and state / CACHE
    with (
        open_cache(file, recipe(params.decode), SCHEMA) as cache,
        TemporaryDirectory() if state is None else nullcontext(state) as folder,
    ):
        return read_pictures(root, listing, params.decode, cache, Path(folder))


def _manifest(listing: Listing, rows: pa.Table) -> pd.DataFrame:
    entries = listing.entries
    columns: dict[str, Any] = {
        "path": rows.column("path").to_pandas(),
        "label": [escape_name(entry.label) for entry in entries],
        "group": [entry.group and escape_name(entry.group) for entry in entries],
        "given_split": [entry.given_split for entry in entries],
    }
    # The chunks of each column are combined into one chunk. Otherwise the bytes of the written file
    # would depend on the batches in which the rows were read.
    for name in OF_IMAGE:
        column = pa.chunked_array([rows.column(name).combine_chunks()])
        columns[name] = column.to_pandas(types_mapper=TYPES.get)
    further = {name: [entry.extras.get(name) for entry in entries] for name in listing.columns}
    return pd.DataFrame(columns | further).astype(COLUMNS | dict.fromkeys(further, "str"))


def _check_columns(further: Sequence[str]) -> None:
    if taken := [name for name in further if name in COLUMNS or name in LATER]:
        raise UserError(
            "columns of your table have names that the manifest reserves; rename these columns, "
            "or, if they hold the path, label, group or split of an image, write their "
            f"names into ingest.source.columns. Received: {name_list(taken)}"
        )


def _check_recorded(root: Path, rows: pa.Table, recorded: Mapping[str, str]) -> None:
    """Raise UserError if the content of a file is not what DVC has recorded."""
    if not recorded:
        return
    pairs = zip(rows.column("path").to_pylist(), rows.column("md5").to_pylist(), strict=True)
    changed = {
        file for path, md5 in pairs if md5 and recorded.get(file := file_of(root, path), md5) != md5
    }
    if changed:
        named = ", ".join(map(printable, sorted(changed)[:3])) + (", …" if len(changed) > 3 else "")
        raise UserError(
            f"the content of {count_text(len(changed), 'file')} in {root} is not what DVC has "
            "recorded; run `fovea data verify --heal` if the files are damaged, or "
            f"`dvc add {root}` if you changed them yourself. Received: {named}"
        )
