"""A registered model in MLflow → its record and the version with the alias `champion`.

The record is the list of all decisions about the versions of the model (see record.py).
"""

from dataclasses import dataclass

from components.registry.record import (
    Event,
    champions,
    last_move,
    moved_by_hand,
    read_record,
)
from components.registry.versions import CHAMPION
from components.tracking.connection import client


@dataclass(frozen=True)
class Standing:
    """What a decision is based on.

    record: the events of the registered model. held: the number of the version that has the alias
    `champion` in MLflow; None if no version has it.
    """

    record: tuple[Event, ...]
    held: int | None

    @property
    def champion(self) -> int | None:
        """Return the number of the last champion in the record; None if there is no champion."""
        return champions(self.record)[-1]

    @property
    def last_move(self) -> Event | None:
        """Return the last event that changed the champion; None if there is no such event."""
        return last_move(self.record)

    @property
    def interrupted(self) -> Event | None:
        """Return the last event if its process was killed before it moved the alias, or None."""
        if self.champion == self.held or moved_by_hand(self.record, self.held):
            return None
        return self.last_move


def history(name: str) -> tuple[Event, ...]:
    """Return the events of a registered model, oldest first; empty if the model does not exist."""
    return read_standing(name).record


def read_standing(name: str) -> Standing:
    """Return the record and the alias; without events and champion if there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        model = client().get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return Standing((), None)
        raise
    held = model.aliases.get(CHAMPION)
    return Standing(read_record(model.tags), None if held is None else int(held))


def in_words(number: int | None, nothing: str = "no champion") -> str:
    """Return the champion in words; number: None if there is no champion, which is `nothing`."""
    return nothing if number is None else f"version {number}"
