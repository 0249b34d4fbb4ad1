"""A .csv, .tsv, .parquet or .jsonl file → the names of its columns, and its rows.

If a .csv, .tsv or .jsonl is malformed, the error message contains the number of the line. The file
docs/decisions/tables-by-hand.md says why text files are not read by pyarrow or pandas.
"""

import codecs
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import UserError, one_line
from components.images.fault import Fault
from components.sources.tree import open_plain, read_plain
from components.words import name_list

DELIMITERS = ",;\t"  # Excel writes semicolons in countries that use a decimal comma
INDEX = "__index_level_"  # the prefix that pandas gives to the name of a column of row numbers
BATCH = 10_000  # the number of rows of a Parquet file that are converted to Python at once

# A row of a table is a pair. The first part is a number, counted from 1. It is the number of the
# line in a text file, or the number of the row in a Parquet file. The second part maps the name of
# a column to the value in this row.
Row = tuple[int, Mapping[str, Any]]
Rows = tuple[list[str], Iterable[Row]]


def read_rows(root: Path, name: str, needed: Iterable[str]) -> Rows:
    """Return the names of the columns of a table, and its rows.

    root: the folder of the table.
    name: the file name of the table.
    needed: the names of the columns that the table must have.

    A column without a name and the row numbers of pandas are left out of the names. In a .csv or
    .tsv, all values are texts, and a missing value is an empty text. In other files, values keep
    their types.

    Raises UserError if the table is malformed, if two columns have the same name, or if a column of
    `needed` is missing. A malformed row of a .csv or .tsv is noticed later, when the row is read.
    """
    read = READERS[Path(name).suffix.lower()]
    try:
        columns, rows = read(root, name, list(needed))
    except Fault as fault:
        raise UserError(
            f"the table {root / name} cannot be read; make it a plain, readable file. "
            f"Received: {fault.text}"
        ) from None
    if repeated := {column for column in columns if columns.count(column) > 1}:
        raise UserError(
            f"{root / name} has two columns with the same name; rename one of them. "
            f"Received: {name_list(repeated)}"
        )
    if missing := [column for column in needed if column not in columns]:
        raise UserError(
            f"{root / name} has no column {missing[0]}; write the names of the columns of paths "
            "and labels into ingest.source.columns. "
            f"Received: {', '.join(map(repr, columns)) or 'no column'}"
        )
    return [column for column in columns if column and not column.startswith(INDEX)], rows


def _csv_rows(root: Path, name: str, needed: list[str]) -> Rows:
    text = _decode_utf8(root / name, read_plain(root, name, sys.maxsize))
    headers = {delimiter: _csv_header(text, delimiter) for delimiter in DELIMITERS}

    def fits(delimiter: str) -> tuple[bool, int]:
        return set(needed) <= set(headers[delimiter]), len(headers[delimiter])

    best = max(DELIMITERS, key=fits)
    return headers[best], _csv_body(root / name, text, best)


def _csv_header(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error:  # `_csv_body` raises UserError for the same error
        return []


def _csv_body(where: Path, text: str, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        for row in reader:
            if row and len(row) != len(header):
                raise csv.Error(f"{len(row)} values in a table of {len(header)} columns")
            if row:
                yield reader.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{where} is malformed in line {reader.line_num}; correct it. Received: {error}"
        ) from None


def _jsonl_rows(root: Path, name: str, needed: list[str]) -> Rows:
    text = _decode_utf8(root / name, read_plain(root, name, sys.maxsize))
    # `splitlines` is not used, because it would also split at rare line breaks inside a value.
    lines = enumerate(text.split("\n"), start=1)
    rows = [
        (number, _json_row(root / name, number, line)) for number, line in lines if line.strip()
    ]
    return list(dict.fromkeys(column for _, row in rows for column in row)), rows


def _json_row(where: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("not a JSON object in braces")
        if "\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()  # raises for half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{where} is malformed in line {number}; correct it. Received: {error}"
        ) from None
    return row


def _parquet_rows(root: Path, name: str, needed: list[str]) -> Rows:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with open_plain(root, name) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            parquet_file = parquet.ParquetFile(file)
            _check_no_bytes(root / name, parquet_file.schema_arrow)
            table = parquet_file.read()
        table.validate(full=True)  # otherwise text that is not UTF-8 causes an error later
    except (pa.ArrowException, OSError) as error:
        problem = one_line(error)
        raise UserError(
            f"{root / name} is not a valid Parquet table; write it again. Received: {problem}"
        ) from None
    for at, name in enumerate(table.column_names):
        table = table.set_column(at, name, _whole_numbers(table.column(at)))
    return list(table.column_names), _parquet_body(table)


def _whole_numbers(column: Any) -> Any:
    """Convert a column of floats to integers if pandas has probably changed integers to floats.

    column: a column of a pyarrow table.

    If a value is missing in a column of integers, pandas stores the column as floats. Then the
    class 1 would become the class 1.0. So a column of floats is converted if at least one value is
    missing and all values that are present are whole numbers. If not, the column is returned
    unchanged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type):
        return column
    floats = column.cast(pa.float64())
    known = pc.if_else(pc.is_nan(floats), pa.scalar(None, pa.float64()), floats)
    if not known.null_count:
        return column
    try:
        return known.cast(pa.int64())
    except pa.ArrowInvalid:  # a value has decimals
        return column


def _check_no_bytes(where: Path, schema: Any) -> None:
    for field in schema:
        if "binary" in str(field.type):
            raise UserError(
                f"{where} contains bytes, but a table must contain the paths of image files; write "
                "the images to files, and remove the column. "
                f"Received: column {field.name}, {field.type}"
            )


def _parquet_body(table: Any) -> Iterator[Row]:
    number = 0
    for batch in table.to_batches(max_chunksize=BATCH):
        columns = [column.to_pylist() for column in batch.columns]
        for values in zip(*columns, strict=True):
            number += 1
            yield number, dict(zip(table.column_names, values, strict=True))


def _decode_utf8(where: Path, data: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark. Raises UserError if it is not UTF-8.

    where: the path of the file, for the error message.
    data: the bytes of the file.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{where} is not UTF-8 in line {line}; save it as UTF-8. "
            f"Received: {data[error.start : error.start + 8]!r}"
        ) from None


READERS: dict[str, Callable[[Path, str, list[str]], Rows]] = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".jsonl": _jsonl_rows,
    ".parquet": _parquet_rows,
}
