"""Tables, trees (nested values), texts and bytes ⇄ the files that artifacts.py names.

A file is replaced in one step. So another process reads the complete old file or the complete new
file, never a part of a file. This module writes no time and no machine name into a file. So files
with equal content have equal bytes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components.errors import UserError, one_line
from components.files import write_whole

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path) -> "pd.DataFrame":
    """Read a CSV or Parquet table.

    Raises UserError if the file is missing or damaged.
    """
    # `fovea summary` reads a JSON file only, and should not wait for pandas.
    import pandas as pd
    import pyarrow as pa

    existing = _existing(path)
    try:
        if path.suffix == ".csv":
            return pd.read_csv(existing)
        return pd.read_parquet(existing, page_checksum_verification=True)
    except PermissionError:  # the bytes may be good
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from None


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table without its index, as CSV (suffix `.csv`) or Parquet (all other suffixes)."""
    with write_whole(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False, lineterminator="\n")
        else:
            table.to_parquet(temporary, index=False, write_page_checksum=True)


def read_tree(path: Path) -> Any:
    """Read a JSON or YAML file. Raises UserError if the file is missing or damaged."""
    existing = _existing(path)
    try:
        text = existing.read_text(encoding="utf-8")
        # JSON is not read as YAML, because YAML 1.1 reads the number 1e-05 as a string.
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise _damaged(path, error) from None


def write_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Write nested values as JSON (suffix `.json`) or YAML, with keys in the given order."""
    if path.suffix == ".json":
        text = json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write the bytes of a file, such as a picture."""
    with write_whole(path) as temporary:
        temporary.write_bytes(content)


def _existing(path: Path) -> Path:
    if not path.is_file():
        stage = path.parts[1]
        raise UserError(f"run `dvc repro {stage}` first to write this file. Received: no {path}")
    return path


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is damaged or was edited; `fovea data verify --heal` repairs it, or "
        f"`dvc repro -f {path.parts[1]}` writes it again. Received: {one_line(error)}"
    )
