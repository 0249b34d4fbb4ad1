"""The state of a training after an epoch → a file, and back after the training was stopped.

A training has a key, which names everything that decides its result. It also has a folder for its
checkpoints, and the name of this folder is a hash of the key:

    checkpoints/last                     the name of the folder of the training that began last
    checkpoints/<name>/key.json          the key, for people and for the message that it differs
    checkpoints/<name>/000012.checkpoint

Guarantees:

- A training goes on from its own checkpoints only: another key has another folder, and each
  checkpoint has the name of its folder, in case a person copies files.
- A checkpoint is read as a whole or not at all: it is renamed into place when it is complete, and
  begins with the sha256 of everything after it. The checkpoint before it is kept, too.
- Reading runs no code: a checkpoint has numbers and JSON, and no pickles.
- The folders may be deleted at any time. The training then begins at its first epoch.
"""

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.files import write_whole

log = logging.getLogger(__name__)

KEPT = 2  # checkpoints of a training; the older one is used if the newer one is damaged
TRAININGS = 3  # folders of trainings; the oldest is deleted first
NAMED = 4  # the maximum number of differences in a message
SHORT = 24  # a longer value is not shown in a message
DIGEST = hashlib.sha256().digest_size  # bytes
LENGTH = 8  # bytes of the number that is the length of the JSON

Variables = Sequence[tuple[str, Sequence[int]]]  # the name and the shape of each variable


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch.

    variables: the names and shapes of the network's variables, which say which architecture it is.
    facts: values that JSON can write. arrays: the name of a group → its arrays.
    """

    variables: Variables
    facts: dict[str, Any]
    arrays: Mapping[str, Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training.

    root: the folder with the folders of all trainings. key: the name of each thing that decides the
    result of the training → its value, or a hash of it.
    """

    root: Path
    key: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """Return the folder of this training."""
        text = json.dumps(self.key, sort_keys=True)
        return self.root / hashlib.sha256(text.encode()).hexdigest()[:32]

    def newest(self, variables: Variables) -> Checkpoint | None:
        """Return the newest checkpoint that can be used; None if the training begins anew.

        If an earlier training with another key was not finished, a message names what differs. A
        message also names every checkpoint that is damaged, of another training or of another
        architecture; it is deleted. Call this method once, before the first epoch. It also deletes
        the folders of the oldest trainings.
        variables: the names and shapes of the variables that the network has now.
        Raises UserError if the folder cannot be written. Raises PermissionError if a checkpoint may
        not be read.
        """
        files = _files(self.folder)
        if not files:
            self._say_what_differs()
        self._begin()
        while files:
            file = files.pop()
            try:
                return _read(file, self.folder.name, variables)
            except ValueError as error:
                log.warning(
                    f"the checkpoint {file} {error}; "
                    f"{'the checkpoint before it is used' if files else 'training begins anew'}"
                )
                file.unlink(missing_ok=True)
        return None

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and delete the checkpoints before the last one.

        Raises UserError if the checkpoint cannot be written, for example because the disk is full.
        """
        parts = _parts(checkpoint, self.folder.name)
        files = _files(self.folder)
        number = int(files[-1].stem) + 1 if files else 1
        path = self.folder / f"{number:06}.checkpoint"
        size = sum(map(len, parts))
        with _report_disk(path, size), write_whole(path) as temporary, temporary.open("wb") as file:
            file.writelines(parts)
        for old in [*files, path][:-KEPT]:
            old.unlink(missing_ok=True)
        if not files:
            log.info(
                "a checkpoint is written after each epoch, but at most once per second, and the "
                f"last {KEPT} are kept: {size:,} bytes each in {self.folder}"
            )

    def remove(self) -> None:
        """Delete the checkpoints of this training, because it is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        """Write down the key of this training, and delete the folders of the oldest trainings."""
        for path, text in (
            (self.folder / "key.json", json.dumps(self.key, indent=2, sort_keys=True)),
            (self.root / "last", self.folder.name),
        ):
            with _report_disk(path, len(text.encode())), write_whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        others = [path for path in self.root.iterdir() if path.is_dir() and path != self.folder]
        others.sort(key=lambda path: path.stat().st_mtime_ns)
        for old in others[: max(0, len(others) - (TRAININGS - 1))]:
            shutil.rmtree(old, ignore_errors=True)

    def _say_what_differs(self) -> None:
        """Log why the training that began last does not go on, if it was not finished."""
        try:
            last = self.root / (self.root / "last").read_text(encoding="utf-8")
            before = json.loads((last / "key.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return  # No training began here, or it was finished.
        if _files(last) and before != self.key:
            log.info(
                "an unfinished training does not go on, and training begins anew, because this "
                f"differs: {', '.join(differences(before, self.key))}"
            )


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the first NAMED values that differ, and how many more do.

    A value is shown if it is short. A hash is not.

    >>> differences({"train.seed": "1", "images": 64 * "a"}, {"train.seed": "2", "images": ""})
    ['images', 'train.seed (1 → 2)']
    """
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]

    def shown(name: str) -> str:
        old, new = before.get(name, "none"), now.get(name, "none")
        return f"{name} ({old} → {new})" if max(len(old), len(new)) <= SHORT else name

    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return [*map(shown, names[:NAMED]), *more]


def _files(folder: Path) -> list[Path]:
    """Return the files of the checkpoints in a folder, the newest last."""
    return sorted(folder.glob(f"{6 * '[0-9]'}.checkpoint"))


def _parts(checkpoint: Checkpoint, training: str) -> list[bytes]:
    """Return the parts of the file: sha256, length of the JSON, JSON, and the bytes of all arrays.

    The JSON has the dtype and the shape of each array. training: the name of the folder.
    """
    head = {
        "training": training,
        "variables": checkpoint.variables,
        "facts": checkpoint.facts,
        "arrays": {
            group: [(array.dtype.name, array.shape) for array in members]
            for group, members in checkpoint.arrays.items()
        },
    }
    text = json.dumps(head).encode()
    numbers = [array.tobytes() for members in checkpoint.arrays.values() for array in members]
    parts = [len(text).to_bytes(LENGTH, "little"), text, *numbers]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return [digest.digest(), *parts]


def _read(file: Path, training: str, variables: Variables) -> Checkpoint:
    """Read a checkpoint. Raises ValueError if it is damaged, or of another training or network."""
    try:
        content = memoryview(file.read_bytes())
    except PermissionError:  # The checkpoint may be good.
        raise
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    start = DIGEST + LENGTH
    if len(content) < start or hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        raise ValueError("is damaged")
    end = start + int.from_bytes(content[DIGEST:start], "little")
    head = json.loads(bytes(content[start:end]))
    if head.get("training") != training:
        raise ValueError("is of another training, or of another version of Fovea")
    # JSON has lists where Python has tuples.
    if head["variables"] != json.loads(json.dumps(variables)):
        raise ValueError("is of another architecture")
    arrays: dict[str, list[NDArray[Any]]] = {}
    for group, members in head["arrays"].items():
        arrays[group] = []
        for dtype, shape in members:
            flat = np.frombuffer(content, dtype, math.prod(shape), end)
            arrays[group].append(flat.reshape(shape).copy())  # The copy is aligned in memory.
            end += flat.nbytes
    return Checkpoint(variables, head["facts"], arrays)


@contextmanager
def _report_disk(path: Path, size: int) -> Iterator[None]:
    """Replace an OSError by a UserError that names the file and the bytes that it needs."""
    try:
        yield
    except OSError as error:
        raise UserError(
            "a checkpoint of the training cannot be written; free some space, or correct the "
            "rights of the folder, and run `dvc repro` again, which goes on after the last "
            f"checkpoint. Received: {error.strerror}, for {size:,} bytes in {path}"
        ) from None
