"""A table → the path and label of each image; rows that contradict each other are refused.

The same letter can be written in two Unicode forms: é is one character (composed), or an e and an
accent (decomposed). Both look the same. macOS and some archives write file names in the decomposed
form, and most programs write tables in the composed form. So a path that is not the path of a file
is compared again in the composed form (NFC). Example: the table lists caf\u00e9.png, and the only
file is cafe\u0301.png. Then the entry gets the path of this file.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

from components.errors import UserError
from components.params.ingest import Columns
from components.sources.listing import SPLITS_BY_WORD, Entry
from components.sources.table_files import Row, read_rows
from components.words import count_text, name_list, printable

WHOLE = re.compile(r"[+-]?\d+")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """The content of a table.

    entries: the entries, sorted by path.
    columns: the names of the columns that `ingest.source.columns` does not name.
    notes: the lines for the log.
    """

    entries: list[Entry]
    columns: tuple[str, ...]
    notes: list[str]


def read_table(root: Path, name: str, columns: Columns, files: Collection[str] = ()) -> Table:
    """Read a table with one row per image.

    root: the folder of the table. The paths in the table are relative to this folder.
    name: the file name of the table.
    columns: the params `ingest.source.columns`. They name the columns with the paths, the labels,
    the groups and the splits.
    files: the paths of the files below `root`.

    This function does not check whether the images exist. A missing image later becomes a row of
    the manifest (the table of all images), and the column `fault` says that the image is missing.
    If several rows of the table have the same path, the first of these rows is used.

    Raises UserError if the table is malformed or has no row, if two rows with the same path differ
    in label, group or split, or if a path looks the same as the paths of several files.
    """
    header, rows = read_rows(root, name, (columns.path, columns.label))
    _check_optional(root / name, header, columns)
    further = tuple(name for name in header if name not in columns.model_dump().values())
    entries: dict[str, Entry] = {}
    repeated, alike = 0, _other_forms(files)
    for row in rows:
        where = f"{root / name}, line {row[0]}"
        entry = _entry(where, row, columns, further)
        if alike and entry.path not in files:
            entry = entry._replace(path=_path_on_disk(where, entry.path, alike))
        first = entries.setdefault(entry.path, entry)
        if first is not entry:
            repeated += 1
            _check_same(root / name, first, entry)
    if not entries:
        raise UserError(
            f"the table {root / name} has no row; write one row per image, with its path and its "
            "label. Received: 0 rows"
        )
    notes = _number_notes(root / name, entries.values())
    if repeated:
        again = count_text(repeated, f"row of {name} is", f"rows of {name} are")
        notes.append(f"{again} left out, because an earlier row has the same path")
    return Table(sorted(entries.values(), key=lambda entry: entry.path), further, notes)


def _other_forms(files: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the composed form (NFC) of a path → the paths of the files that have this form.

    files: the paths of the files. A path that consists of ASCII characters has only one form, so it
    is left out.
    """
    forms = defaultdict(list)
    for path in files:
        if not path.isascii():
            forms[normalize("NFC", path)].append(path)
    return forms


def _path_on_disk(where: str, path: str, alike: Mapping[str, list[str]]) -> str:
    """Return the path of the only file that looks the same as `path`; without such a file, `path`.

    Raises UserError if several files look the same as `path`.
    """
    files = alike.get(normalize("NFC", path), [path])
    if len(files) > 1:
        names = " and ".join(map(ascii, sorted(files)))
        raise UserError(
            f"{where}: the names of {len(files)} files look like this path, but consist of other "
            f"Unicode characters ({names}); rename the files, or write one of the names into the "
            f"table. Received: {path!a}"
        )
    return files[0]


def _check_optional(where: Path, header: Sequence[str], columns: Columns) -> None:
    """Raise UserError if the params name a column for group or split that is missing.

    A column with the default name, `group` or `split`, may be missing.
    """
    for what in ("group", "split"):
        name = getattr(columns, what)
        if name != what and name not in header:
            raise UserError(
                f"{where} has no column {name!r}, which ingest.source.columns.{what} names; "
                f"correct the param, or set it to {what} if the table has no column of {what}s. "
                f"Received: {name_list(header)}"
            )


def check_slashes(where: Path, paths: Iterable[str], files: Collection[str]) -> None:
    """Raise UserError if a path contains a backslash and is not the path of a file.

    where: the path of the table, for the error message.
    paths: the paths in the table.
    files: the paths of the files that exist.
    """
    for path in paths:
        if "\\" in path and path not in files:
            raise UserError(
                f"a path in {where} must separate folders by a slash, not a backslash; replace the "
                f"backslashes. Received: {printable(path)}"
            )


def _entry(where: str, row: Row, columns: Columns, further: Iterable[str]) -> Entry:
    values = row[1]
    return Entry(
        _path(where, values.get(columns.path)),
        _label(where, values.get(columns.label)),
        _text(values.get(columns.group)),
        _split(where, values.get(columns.split)),
        {name: _text(values.get(name)) for name in further},
    )


def _path(where: str, value: Any) -> str:
    """Return a path without its empty parts and its parts `.`, such as `a/b` for `./a//b`.

    The paths of existing files have the same form, so a path of the table can be compared with
    the paths of existing files. Raises UserError if the value is not a text or is empty.
    """
    if not isinstance(value, str) or not value.strip():
        raise UserError(
            f"{where}: the path of an image is missing or not a text; write the path into the "
            f"table. Received: {value!r}"
        )
    steps = "/".join(step for step in value.split("/") if step not in ("", "."))
    return f"/{steps}" if value.startswith("/") else steps


def _label(where: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise UserError(
        f"{where}: a label names a class, so it must be text or a whole number; write class names "
        f"into the table. Received: {value!r}"
    )


def _split(where: str, value: Any) -> str | None:
    word = _text(value)
    if word is None:
        return None
    if word.lower() not in SPLITS_BY_WORD:
        raise UserError(
            f"{where}: a split is one of {', '.join(SPLITS_BY_WORD)}; rename the split, or set "
            f"ingest.source.columns.split to another column. Received: {printable(word)}"
        )
    return SPLITS_BY_WORD[word.lower()]


def _text(value: Any) -> str | None:
    """Return a value of a table as text. None if the value is missing, empty or NaN."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _check_same(where: Path, first: Entry, second: Entry) -> None:
    """Raise UserError if two rows with the same path differ in label, group or split."""
    for what in ("label", "group", "given_split"):
        before, after = getattr(first, what), getattr(second, what)
        if before != after:
            raise UserError(
                f"{where} has two rows for {printable(first.path)} with a different "
                f"{what.removeprefix('given_')}; keep one row. "
                f"Received: {printable(str(before))} and {printable(str(after))}"
            )


def _number_notes(where: Path, entries: Iterable[Entry]) -> list[str]:
    """Return a list with one line for the log if all labels are whole numbers.

    If a label is not a whole number, the list is empty. Raises UserError if all labels are numbers
    and at least one label has decimals, because a column of measured values does not contain class
    names.
    """
    labels = sorted({entry.label for entry in entries} - {""})
    if not labels or not all(NUMBER.fullmatch(label) for label in labels):
        return []
    decimals = [label for label in labels if not WHOLE.fullmatch(label)]
    if decimals:
        raise UserError(
            f"the labels in {where} are numbers with decimals, but a label names a class; set "
            f"ingest.source.columns.label to another column. Received: {decimals[0]}"
        )
    return [f"labels in {where.name} are whole numbers; they are used as class names"]
