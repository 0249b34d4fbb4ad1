"""The folders of journals → their records and cursors, whoever has locked them; see journal.py."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.tracking.connection import main_workspace

Record = dict[str, Any]
DAMAGED = "damaged"  # the kind of a record whose line cannot be read
FOLDER = Path(".fovea/tracking")


def folder() -> Path:
    """Return the folder of all journals. An experiment of DVC uses that of its main workspace."""
    return main_workspace() / FOLDER


def journal_folders() -> list[Path]:
    """Return the folders of all journals, oldest first."""
    try:
        return sorted(path for path in folder().iterdir() if path.is_dir())
    except OSError:  # There is no such folder.
        return []


def count_waiting() -> tuple[int, int]:
    """Return how many records of how many runs MLflow does not have. Locks nothing."""
    counts = []
    for path in journal_folders():
        with suppress(OSError):  # The journal is delivered now, or belongs to another user.
            lines = (path / "records").read_bytes().count(b"\n")
            counts.append(max(0, lines - read_cursor(path)[0]))
    return sum(counts), sum(count > 0 for count in counts)


def parse_records(content: bytes) -> list[Record]:
    """Return a record for each complete line of the file `records`.

    The record of a damaged line has the kind DAMAGED, and the text of the line.
    """
    return [_parse(line) for line in content.split(b"\n")[:-1]]


def _parse(line: bytes) -> Record:
    with suppress(ValueError):
        record = json.loads(line)
        if isinstance(record, dict) and {"kind", "time_ms"} <= record.keys():
            return record
    return {"kind": DAMAGED, "line": line.decode(errors="replace")}


def read_cursor(path: Path) -> tuple[int, str, bool]:
    """Return how many records are delivered, the id of the run, and whether creating it was tried.

    If the file `cursor` is missing or damaged, nothing is taken for delivered.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        cursor = json.loads((path / "cursor").read_bytes())
        return max(0, int(cursor["delivered"])), str(cursor["run_id"]), bool(cursor["tried"])
    return 0, "", False
