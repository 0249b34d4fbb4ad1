"""The folder .fovea/search → the search of this workspace, and whether a process runs it now.

Each search has a folder there. Its file search.json has what the search was started with: the name
of the study, and sections of params.yaml. The file `last` has the name of the
newest one. While a process runs a search, it locks the file `running` in the folder of the search;
the kernel releases the lock when the process ends, however it ends.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.errors import UserError, one_line
from components.params.hyperparameters import Hyperparameters
from components.params.search import Search
from pipelines import artifacts
from pipelines.workspace.locks import EXCLUSIVE, SHARED, try_lock
from pipelines.workspace.search_variables import STORAGE

FOLDER = artifacts.STATE / "search"
LAST, PLAN, RUNNING = "last", "search.json", "running"
BRIEF_S = 0.5  # `is_running` locks the file for a moment, too


@dataclass(frozen=True)
class SavedSearch:
    """A search that was started here. folder: its folder. url, study: see `Rungs`. search, written:
    what params.yaml was when it was started last.
    """

    folder: Path
    url: str
    study: str
    search: Search
    written: Hyperparameters


def last_search() -> SavedSearch | None:
    """Return the newest search of this workspace; None if there was none, or if it was deleted.

    Raises UserError if its files cannot be read.
    """
    try:
        name = (FOLDER / LAST).read_text(encoding="utf-8").strip()
        text = (FOLDER / name / PLAN).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        plan = json.loads(text)
        return SavedSearch(
            FOLDER / name,
            study_url(FOLDER / name),
            plan["study"],
            Search.model_validate(plan["search"], strict=False),
            Hyperparameters.model_validate(plan["written"], strict=False),
        )
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{FOLDER / name / PLAN}: it is damaged, or of another Fovea; run `dvc repro` to "
            f"search again. Received: {one_line(error)}"
        ) from None


def has_database(saved: SavedSearch) -> bool:
    """Return whether the database of a search exists. One on a server is not asked."""
    file = saved.url.removeprefix("sqlite:///")
    return file == saved.url or Path(file).is_file()


def study_url(folder: Path) -> str:
    """Return SQLAlchemy's address of the database of a search. folder: of the search."""
    # The path of the current folder may have characters with a meaning in addresses, such as ?.
    return os.environ.get(STORAGE, "").strip() or f"sqlite:///{folder / 'study.db'}"


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Lock a search while the block runs. Raises UserError if another process runs it."""
    descriptor = os.open(folder / RUNNING, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + BRIEF_S
        while not (locked := try_lock(descriptor, EXCLUSIVE)) and time.monotonic() < deadline:
            time.sleep(BRIEF_S / 10)
        if not locked:
            raise UserError(
                "another process runs this search already; wait until it ends, or end it with "
                f"`fovea study stop`. Received: {folder}"
            )
        yield
    finally:
        os.close(descriptor)


def is_running(folder: Path) -> bool:
    """Return whether a process runs the search of a folder now."""
    try:
        descriptor = os.open(folder / RUNNING, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor, SHARED)
    finally:
        os.close(descriptor)
