"""A study in a database → its attributes, and whether it goes on or was ended.

The attributes of the study of the first rung are what the processes of a search tell each other, in
addition to the trials: that it was ended, that it is to stop, or for how long it has run.
"""

from typing import Any

from components.errors import UserError
from components.search.database import PATIENCE_S, Database
from components.search.rows import (
    lock_study,
    set_study_attribute,
    study_attribute,
    study_exists,
)

# The attribute of a study that was ended: why.
ENDED = "ended"


class Study:
    """One study, which `components.search.database.create_study` has created.

    url: SQLAlchemy's address of the database, such as sqlite:///study.db or
    postgresql+psycopg://user@host/database. study: the name of the study. patience_s: how many
    seconds a call waits if the database is away or locked.

    All methods raise UserError if the database is away for longer; what was written stays. They
    may be called by several threads.
    """

    def __init__(self, url: str, study: str, patience_s: float = PATIENCE_S) -> None:
        self._database = Database(url, study, patience_s)

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.close()

    def hold(self) -> None:
        """Let no other process run the search of this study until `close`.

        Raises UserError if another one runs it, in another folder or on another machine.
        """
        if not self._database.hold():
            raise UserError(
                "another process runs this search already, in another folder or on another "
                "machine; wait until it ends, or end it with `fovea study stop`. "
                f"Received: study {self._database.name}"
            )

    def end(self, reason: str) -> None:
        """End the study: workers finish their trials and are given no further ones."""

        def write(session: Any, again: bool) -> None:
            lock_study(session, self._study_id)
            if not study_attribute(session, self._study_id, ENDED):
                set_study_attribute(session, self._study_id, ENDED, reason)

        self._database.change(write)

    def go_on(self) -> None:
        """Let a study that was ended go on."""
        self.note(ENDED, None)

    def note(self, key: str, value: Any) -> None:
        """Write an attribute of the study, a value that JSON can write."""

        def write(session: Any, again: bool) -> None:
            lock_study(session, self._study_id)
            set_study_attribute(session, self._study_id, key, value)

        self._database.change(write)

    def noted(self, key: str) -> Any:
        """Return an attribute of the study, or None if it is not set."""
        return self._database.read(lambda session: study_attribute(session, self._study_id, key))

    def ended(self) -> str | None:
        """Return why the study was ended, or None if it goes on."""
        reason: str | None = self.noted(ENDED)
        return reason

    def knows(self, study: str) -> bool:
        """Return whether the same database has a study of this name."""
        return self._database.read(lambda session: study_exists(session, study))

    @property
    def _storage(self) -> Any:
        return self._database.storage

    @property
    def _study_id(self) -> int:
        return self._database.study_id
