"""The folder .fovea/search: the searches of this workspace, and whether a process runs one now.

Each search has a folder there. Its file search.json has what the search was started with: the name
of the study, sections of params.yaml, and the packages and variables that every worker needs. Its
file key.json has everything that decides its trials.
The file `last` has the name of the newest search. While a process runs a search, it locks the file
`running` in the folder of the search; the kernel releases the lock when the process ends, however
it ends.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.errors import UserError, one_line
from components.files import write_whole
from components.params.balance import Balance
from components.params.hyperparameters import Hyperparameters
from components.params.search import Search
from components.training.checkpoints import differences
from pipelines import artifacts
from pipelines.workspace.locks import EXCLUSIVE, SHARED, try_lock
from pipelines.workspace.search_variables import STORAGE

log = logging.getLogger(__name__)

FOLDER = artifacts.STATE / "search"
LAST, PLAN, KEY, RUNNING = "last", "search.json", "key.json", "running"
KEPT = 3  # folders of searches; the oldest is deleted first
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


@contextmanager
def begin_search(
    key: Mapping[str, str],
    machine: Mapping[str, str],
    search: Search,
    written: Hyperparameters,
    balance: Balance,
) -> Iterator[SavedSearch]:
    """Lock a search, write what its workers read, and yield it. Its name is a hash of the key.

    key: everything that decides the trials, by name. machine: the part of it that the machine of a
    worker has by itself, and that must be equal there.
    Raises UserError if another process runs this search.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    plan = {
        "study": name,
        "machine": dict(machine),
        "search": search.model_dump(mode="json", exclude_unset=True),
        "written": written.model_dump(mode="json"),
        "balance": balance.model_dump(mode="json"),
    }
    with running(folder):
        _write_tree(folder / PLAN, plan)
        yield SavedSearch(folder, study_url(folder), name, search, written)


def make_newest(saved: SavedSearch, key: Mapping[str, str]) -> None:
    """Write down that a search is the newest one, and delete all but the newest KEPT folders.

    A folder whose search runs now stays. If it is a new search, what differs from the last one is
    logged. key: see `begin_search`.
    """
    if not (saved.folder / KEY).exists():
        _say_what_differs(key)
    _write_tree(saved.folder / KEY, key)
    with write_whole(FOLDER / LAST) as part:
        part.write_text(saved.folder.name, encoding="utf-8")
    others = [path for path in FOLDER.iterdir() if path.is_dir() and path != saved.folder]
    others.sort(key=lambda path: path.stat().st_mtime_ns)
    for old in others[: max(0, len(others) - (KEPT - 1))]:
        if not is_running(old):
            shutil.rmtree(old, ignore_errors=True)


def _write_tree(file: Path, tree: Mapping[str, object]) -> None:
    with write_whole(file) as part:
        part.write_text(json.dumps(tree, indent=2, sort_keys=True), encoding="utf-8")


def _say_what_differs(key: Mapping[str, str]) -> None:
    try:
        name = (FOLDER / LAST).read_text(encoding="utf-8")
        before = json.loads((FOLDER / name / KEY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    log.info(
        "a new search begins, because this differs from the last one: "
        f"{', '.join(differences(before, key))}"
    )


def last_search() -> SavedSearch | None:
    """Return the newest search of this workspace; None if there was none, or if it was deleted.

    Raises UserError if its files cannot be read.
    """
    try:
        name = (FOLDER / LAST).read_text(encoding="utf-8", errors="replace").strip()
        content = (FOLDER / name / PLAN).read_bytes()
    except FileNotFoundError:
        return None
    try:
        plan = json.loads(content)
        return SavedSearch(
            FOLDER / name,
            study_url(FOLDER / name),
            plan["study"],
            Search.model_validate(plan["search"], strict=False),
            Hyperparameters.model_validate(plan["written"], strict=False),
        )
    except (ValueError, KeyError, TypeError) as error:
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
