"""Names of images and predictions → rows of a table, written to a file or a stream as they come.

The columns: path, label, probability, then label_2 and probability_2 up to label_K and
probability_K, fault and reason. A refused image has only path, fault and reason.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from components.files import write_whole
from components.serving.model import Prediction

Row = Mapping[str, str | float | None]
Write = Callable[[Row], None]
# Names of files need not be UTF-8. In text, their bytes come out as they were.
ERRORS = "surrogateescape"
GROUP = 10_000  # rows in memory before they are written to a Parquet file


def columns(top: int) -> list[str]:
    """Return the names of the columns with the `top` most probable classes.

    >>> columns(2)
    ['path', 'label', 'probability', 'label_2', 'probability_2', 'fault', 'reason']
    """
    more = [f"{name}_{rank}" for rank in range(2, top + 1) for name in ("label", "probability")]
    return ["path", "label", "probability", *more, "fault", "reason"]


def row(name: str, prediction: Prediction) -> Row:
    """Return the row of an image; the columns of classes that it does not have are missing."""
    found: dict[str, str | float | None] = {"path": name}
    for rank, (label, probability) in enumerate(prediction.top, start=1):
        end = "" if rank == 1 else f"_{rank}"
        found |= {f"label{end}": label, f"probability{end}": probability}
    return {**found, "fault": prediction.fault, "reason": prediction.reason or None}


@contextmanager
def csv_rows(stream: TextIO, top: int) -> Iterator[Write]:
    """Yield a function that writes a row of CSV. The names of the columns are the first line."""
    writer = csv.DictWriter(stream, columns(top), restval="", lineterminator="\n")
    writer.writeheader()
    yield writer.writerow


@contextmanager
def jsonl_rows(stream: TextIO, top: int) -> Iterator[Write]:
    """Yield a function that writes a row as one line of JSON, with all columns."""
    empty = dict.fromkeys(columns(top))
    yield lambda row: print(json.dumps({**empty, **row}, ensure_ascii=False), file=stream)


TEXTS = {"csv": csv_rows, "jsonl": jsonl_rows}
FORMATS = (*TEXTS, "parquet")


@contextmanager
def rows_to_file(path: Path, kind: str, top: int) -> Iterator[Write]:
    """Yield a function that writes a row to a new file, which appears when all rows are written.

    kind: one of FORMATS. After an error, the file is as it was before.
    """
    with write_whole(path) as part:
        if kind == "parquet":
            with _parquet_rows(part, top) as write:
                yield write
            return
        with (
            part.open("w", encoding="utf-8", errors=ERRORS, newline="") as stream,
            TEXTS[kind](stream, top) as write,
        ):
            yield write


@contextmanager
def _parquet_rows(path: Path, top: int) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    types = {
        name: pa.float64() if name.startswith("prob") else pa.string() for name in columns(top)
    }
    schema = pa.schema(types.items())
    waiting: list[Row] = []

    def flush() -> None:
        file.write_table(pa.Table.from_pylist(waiting, schema))
        waiting.clear()

    def write(row: Row) -> None:
        # A text in Parquet is UTF-8, so other bytes of a name are written as escapes, such as \xff.
        name = str(row["path"]).encode("utf-8", ERRORS).decode("utf-8", "backslashreplace")
        waiting.append({**row, "path": name})
        if len(waiting) == GROUP:
            flush()

    with ParquetWriter(path, schema) as file:
        yield write
        flush()
