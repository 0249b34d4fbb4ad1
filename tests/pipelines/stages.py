"""A folder to run stages in: real digits in data/raw, and what earlier stages leave."""

import hashlib
import shutil
from pathlib import Path

import pytest

from components.params.reader import Params
from pipelines import ingest, prepare, split, validate

ROOT = Path(__file__).parents[2]


def workspace(digits: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a copy of `digits` below `folder`/data/raw and go there."""
    shutil.copytree(digits, folder / "data/raw")
    monkeypatch.chdir(folder)


def run_until(stage: str, params: Params) -> None:
    """Run the stages of the data part in order, up to and with `stage`."""
    steps = {
        "ingest": lambda: ingest.run(params.ingest),
        "validate": lambda: validate.run(params.ingest, params.section("validate"), params.prepare),
        "split": lambda: split.run(params.split),
        "prepare": lambda: prepare.run(params.ingest, params.prepare),
    }
    for name, step in steps.items():
        step()
        if name == stage:
            return


def sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
