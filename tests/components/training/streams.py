"""Streams for the tests of worker processes, in a module that a process imports quickly."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.training.batches import Batch


def batch_of(number: int) -> Batch:
    return np.full((2, 3), number), np.arange(2), np.ones(2, np.float32)


@dataclass
class Numbers:
    """A stream whose batch i holds the number i, and leaves a file i in the folder."""

    folder: Path

    def batch(self, index: int) -> Batch:
        (self.folder / str(index)).touch()
        return batch_of(index)


@dataclass
class Faulty:
    """A stream that raises the error at batch 5."""

    error: Exception

    def batch(self, index: int) -> Batch:
        if index == 5:
            raise self.error
        return batch_of(index)


@dataclass
class Deadly:
    """A stream that kills the worker at batch 5, as often as there are files in the folder."""

    folder: Path

    def batch(self, index: int) -> Batch:
        lives = sorted(self.folder.iterdir())
        if index == 5 and lives:
            lives[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return batch_of(index)


class LocalError(Exception):
    """An exception that cannot be sent to another process."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Unsendable:
    def batch(self, index: int) -> Batch:
        if index == 5:
            raise LocalError("one", "two")
        return batch_of(index)
