"""The address of a database → transactions on the tables of an Optuna study.

Every change of a trial is one transaction of ours on Optuna's tables, because Optuna's own methods
are one transaction each: two of them ("is this still my trial?" and "write") cannot be made atomic.
The tables are those of Optuna's pinned version, and Optuna reads them.

- sqlite: a transaction starts with BEGIN IMMEDIATE, so only one process writes at a time. (Without
  it, two processes could both read before one of them writes.) The journal is a write-ahead log, so
  that readers never wait for a writer.
- PostgreSQL: rows are locked by SELECT … FOR UPDATE.

The operating system or the server ends the transaction of a killed process; nothing of it stays.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from components.errors import UserError
from components.search.storage import (
    cause_of,
    engine_options,
    open_storage,
    unusable,
    user_errors,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

# How many seconds a process waits for a database that is away or locked by another process.
PATIENCE_S = 120.0


def create_study(url: str, study: str, directions: Sequence[str]) -> None:
    """Create the tables and the study if they do not exist.

    url: SQLAlchemy's address of the database. directions: `maximize` or `minimize` for each
    objective. Raises UserError if the database cannot be used, or if its study of this name has
    other directions.
    """
    import optuna

    with _without_words():
        storage = open_storage(url, create=True)
        try:
            if url.startswith("sqlite"):
                with storage.engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            with user_errors():
                created: Any = optuna.create_study(
                    storage=storage,
                    study_name=study,
                    directions=list(directions),  # type: ignore[arg-type]
                    load_if_exists=True,
                )
            before = [direction.name.lower() for direction in created.directions]
        finally:
            storage.remove_session()
            storage.engine.dispose()
    if before != list(directions):
        raise UserError(
            "search: the study has other objectives; use another name or database. "
            f"Received: study {study}, {before} and {list(directions)}"
        )


class Database:
    """Transactions on the database of a study, which `create_study` has created.

    name: of the study. study_id: Optuna's key of it. storage: Optuna's RDBStorage, and study: its
    Study, to read trials. A finished trial is read once and then remembered.
    patience_s: how many seconds a process waits for a database that is away or locked, with all its
    transactions together, until one of them succeeds.
    """

    def __init__(self, url: str, study: str, patience_s: float = PATIENCE_S) -> None:
        import optuna
        import sqlalchemy.orm

        self.name, self.patience_s = study, patience_s
        self._away_since: float | None = None
        self._holder: Any = None
        self.storage = open_storage(url, create=False)
        self._engine = sqlalchemy.create_engine(url, **engine_options(url))
        if url.startswith("sqlite"):
            _begin_immediate(self._engine)
        self._sessions = sqlalchemy.orm.sessionmaker(self._engine)
        # A transaction that only reads does not wait until another process has written.
        self._readers = sqlalchemy.orm.sessionmaker(self.storage.engine)
        try:
            with user_errors():
                self.study: Any = optuna.load_study(study_name=study, storage=self.storage)
                self.study_id: int = self.storage.get_study_id_from_name(study)
        except KeyError:
            self.close()
            raise UserError(
                "FOVEA_STUDY_STORAGE: the database has no such study; start `search` before its "
                f"workers, with the same address. Received: study {study}"
            ) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections to the database."""
        if self._holder is not None:
            self._holder.close()
        self.storage.remove_session()
        self.storage.engine.dispose()
        self._engine.dispose()

    def hold(self) -> bool:
        """Return whether this process now holds the study, alone until `close`.

        A database in a file belongs to one workspace, which has its own lock, so the result is
        always True. PostgreSQL locks for a connection, and ends the lock with it, however the
        process ends; if it restarts, the lock is lost.
        """
        import sqlalchemy

        if self._engine.dialect.name == "sqlite":
            return True
        digest = hashlib.sha256(self.name.encode()).digest()
        key = int.from_bytes(digest[:8], signed=True)
        with user_errors():
            self._holder = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            lock = sqlalchemy.text("SELECT pg_try_advisory_lock(:key)")
            held = bool(self._holder.execute(lock, {"key": key}).scalar())
        if not held:
            self._holder.close()
        return held

    def change(self, work: Callable[[Any, bool], T]) -> T:
        """Call work(session, again) in one transaction, commit it, and return its result.

        If `work` raises an error, nothing is written. If the database is away or locked, `work` is
        called again, up to `patience_s`; then UserError is raised. `again` says that it is called
        again. The connection may have been lost after the commit, so a later call may find that an
        earlier one has done the work.
        """

        def transaction(again: bool) -> T:
            with self._sessions.begin() as session:
                return work(session, again)

        return self.retry(transaction)

    def read(self, work: Callable[[Any], T]) -> T:
        """Return work(session), which only reads. It waits for the database like `change`."""

        def transaction(again: bool) -> T:
            with self._readers() as session:
                return work(session)

        return self.retry(transaction)

    def retry(self, call: Callable[[bool], T]) -> T:
        """Return call(again), which only reads or is a transaction; see `change`."""
        from optuna.exceptions import StorageInternalError
        from optuna.storages._rdb.models import NOT_FOUND_MSG
        from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError

        begun, again = time.monotonic(), False
        while True:
            try:
                result = call(again)
                self._away_since = None
                return result
            except (InterfaceError, OperationalError, StorageInternalError) as error:
                if self._away_since is None:
                    self._away_since = begun
                # A connection that was lost meanwhile, and no more, is one error.
                if again and time.monotonic() > self._away_since + self.patience_s:
                    raise unusable(error) from None
                if not again:
                    log.warning(f"the database of the study does not answer: {cause_of(error)}")
                again = True
                time.sleep(min(1.0, self.patience_s / 10))
            except DatabaseError as error:
                if type(error) is DatabaseError:  # sqlite says so of a damaged file
                    raise unusable(error) from None
                raise
            except KeyError as error:
                if error.args != (NOT_FOUND_MSG,):
                    raise
                raise UserError(
                    "the study of this search was deleted, for example in Optuna Dashboard; run "
                    f"`dvc repro`, which begins it again. Received: study {self.name}"
                ) from None


def _begin_immediate(engine: Any) -> None:
    """Let every transaction of the engine lock the sqlite file before it reads."""
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # Python's sqlite3 module starts no transaction.

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _without_words() -> Iterator[None]:
    """Optuna writes to its log that there is a new study."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
