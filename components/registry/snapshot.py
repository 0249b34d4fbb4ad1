"""The name of a registered model → its versions, its record and the challenger's verdict.

The package mlflow takes seconds to start, even if it then reads only a few rows. So this module
keeps the answer of MLflow in the file SNAPSHOT. MLflow is asked again after each change of the
sqlite file, by any program. A remote MLflow is always asked.

Example: the stage `register` keeps a snapshot. `fovea review` reads it, without MLflow. Then a
person moves an alias on MLflow's page, which changes the sqlite file. The next `fovea review` asks
MLflow.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from components.files import write_whole
from components.registry.record import Event
from components.registry.standing import Standing, history
from components.registry.versions import (
    CHALLENGER,
    CHAMPION,
    Version,
    find_version_in,
    version_with_alias,
    versions,
)
from components.tracking.connection import address, connect, sqlite_file
from components.tracking.run_folders import verdict_paths
from components.tracking.runs import Run

SNAPSHOT = Path(".fovea/registry.json")
# An sqlite file starts with a header of this length. Each transaction that changes the file also
# changes a counter in the header.
HEADER_BYTES = 100


@dataclass(frozen=True)
class Snapshot:
    """A registered model as it was when it was read.

    name: the name of the registered model. versions: all its versions, oldest first. record: all
    decisions about its versions, oldest first. verdict: the text of the challenger's verdict.json;
    None if there is no challenger, or if its run no longer has the file.
    """

    name: str
    versions: tuple[Version, ...]
    record: tuple[Event, ...]
    verdict: str | None

    @property
    def champion(self) -> Version | None:
        """Return the version with the alias `champion`, or None."""
        return version_with_alias(self.versions, CHAMPION)

    @property
    def standing(self) -> Standing:
        """Return the record and the number of the champion."""
        return Standing(self.record, self.champion.number if self.champion else None)

    @property
    def challenger(self) -> Version | None:
        """Return the version with the alias `challenger`, or None."""
        return version_with_alias(self.versions, CHALLENGER)

    def find(self, wanted: str) -> Version:
        """Return the version with the number or the alias `wanted`.

        Raises UserError if there is no such version; the message lists the existing versions.
        """
        return find_version_in(self.versions, self.name, wanted)


def read_snapshot(name: str, say: Callable[[str], None]) -> Snapshot:
    """Return the registered model `name` as it is now.

    say: a function that is called with what this function waits for, if MLflow must be asked.
    Raises UserError if MLflow must be asked and does not answer.
    """
    file = sqlite_file()
    if file is not None and not file.exists():  # MLflow would create it.
        return Snapshot(name, (), (), None)
    kept = _read_kept(name, _state_of_database())
    if kept is not None:
        return kept
    say(waiting_for_mlflow())
    return keep_snapshot(name)


def waiting_for_mlflow() -> str:
    """Return what a command says before it asks MLflow."""
    return f"waiting for MLflow ({address()}); it takes some seconds to start"


def keep_snapshot(name: str) -> Snapshot:
    """Ask MLflow for the registered model `name`, write SNAPSHOT, and return the model.

    Nothing is written for a remote MLflow, or if another process changes the sqlite file meanwhile.
    Raises UserError if MLflow does not answer.
    """
    connect()
    before = _state_of_database()
    existing = versions(name)
    challenger = version_with_alias(existing, CHALLENGER)
    places = verdict_paths(name) if challenger else ()
    texts = (challenger.run.read_text(place) for place in places if challenger)
    verdict = next((text for text in texts if text is not None), None)
    snapshot = Snapshot(name, existing, history(name), verdict)
    if before is not None and before == _state_of_database():
        # A user who may only read the workspace gets the answer, too. It is not kept then.
        with suppress(OSError), write_whole(SNAPSHOT) as part:
            part.write_text(json.dumps({"state": before, **asdict(snapshot)}), encoding="utf-8")
    return snapshot


def _state_of_database() -> str | None:
    """Return a text that differs after every change of the sqlite file.

    Returns None for a remote MLflow, for a missing file, and while a transaction is in progress.
    """
    file = sqlite_file()
    if file is None or any(Path(f"{file}{end}").exists() for end in ("-journal", "-wal")):
        return None
    try:
        with file.open("rb") as database:
            header = hashlib.sha256(database.read(HEADER_BYTES)).hexdigest()
        facts = file.stat()
    except OSError:
        return None
    return f"{file.absolute()} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns} {header}"


def _read_kept(name: str, state: str | None) -> Snapshot | None:
    """Return the snapshot in SNAPSHOT; None if it is of another model or of an older state."""
    try:
        tree = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
        if state is None or (tree.pop("state"), tree["name"]) != (state, name):
            return None
        return Snapshot(
            name,
            tuple(map(_version, tree["versions"])),
            tuple(map(_event, tree["record"])),
            tree["verdict"],
        )
    except (OSError, ValueError, TypeError, KeyError):  # missing, damaged, or of an older Fovea
        return None


def _version(tree: dict[str, Any]) -> Version:
    return Version(**{**tree, "run": Run(**tree["run"]), "aliases": tuple(tree["aliases"])})


def _event(tree: dict[str, Any]) -> Event:
    """Build an event. Raises KeyError if an older Fovea wrote it, with fewer fields."""
    return Event(**{field.name: tree[field.name] for field in fields(Event)})
