"""The address of a database → Optuna's storage, or a sentence about what is wrong with it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from components.errors import UserError, one_line

# How many seconds one try waits for a lock, or for a connection.
LOCK_S, CONNECT_S = 20, 10
# PostgreSQL asks a silent machine after 10 s, then two times more. Then its connections end.
ALIVE = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2"
# A worker that is paused inside a transaction would block all others. PostgreSQL ends its
# transaction after this time. (sqlite cannot: there, the coordinator has to kill the worker.)
PAUSED_MS = 10_000
KINDS = ("sqlite", "postgresql")
EXAMPLE = "postgresql+psycopg://USER@HOST/fovea"
ADVICE = "start it, correct its address, or end what locks it, and run the same command again"


def open_storage(url: str, create: bool) -> Any:
    """Return Optuna's storage (RDBStorage) at an address.

    url: SQLAlchemy's address of the database. create: create Optuna's tables if they are missing.
    Raises UserError if the address is wrong, or if the database cannot be used or belongs to
    another program.
    """
    import optuna
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    kind, found, _ = url.partition("://")
    if found and kind.partition("+")[0] not in KINDS:
        raise UserError(
            "FOVEA_STUDY_STORAGE: the database of a study is sqlite or PostgreSQL; write an "
            f"address such as {EXAMPLE}. Received: an address that begins with {kind}"
        )
    template = url.replace("{", "{{").replace("}", "}}")  # Optuna calls `format`.
    # If a database goes away while trials are read, Optuna prints a statement with all their ids.
    logging.getLogger("optuna.storages._rdb.storage").setLevel(logging.ERROR)
    try:
        if sqlalchemy.make_url(url).get_dialect().is_async:
            raise UserError(
                "FOVEA_STUDY_STORAGE: this driver is for asynchronous programs; write an address "
                f"such as {EXAMPLE}. Received: an address that begins with {kind}"
            )
        with user_errors():
            if create:
                _check_owner(url)
            return optuna.storages.RDBStorage(
                template, engine_kwargs=engine_options(url), skip_table_creation=not create
            )
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        # The address may have a password, so neither it nor a part of it is shown.
        no_port = isinstance(error, ValueError)
        wrong = "a port that is no number" if no_port else one_line(error)
        raise UserError(
            "FOVEA_STUDY_STORAGE: no address of a database; write one such as "
            f"{EXAMPLE}. Received: {wrong}"
        ) from None
    except RuntimeError as error:  # Optuna's class for tables of another version
        raise _foreign(one_line(error)) from None
    except ImportError:
        raise UserError(
            "FOVEA_STUDY_STORAGE: the driver of this database is not installed; write an address "
            f"such as {EXAMPLE}, and run `pip install 'fovea[postgres]'`. "
            f"Received: an address that begins with {kind}"
        ) from None


def _check_owner(url: str) -> None:
    """Raise UserError if the database belongs to MLflow, Prefect or the like.

    They write the version of their tables where Optuna writes its own, so only one can use it.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, **engine_options(url))
    try:
        names = set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "alembic_version" in names and "studies" not in names:
        raise _foreign(", ".join(sorted(names)[:4]))


def _foreign(received: str) -> UserError:
    return UserError(
        "FOVEA_STUDY_STORAGE: the database belongs to another program, or to another version of "
        f"Optuna; write the address of an empty database. Received: {received}"
    )


def engine_options(url: str) -> dict[str, Any]:
    """Return the arguments of SQLAlchemy's create_engine for a database."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": LOCK_S}}
    rules = f"-c idle_in_transaction_session_timeout={PAUSED_MS} -c lock_timeout={LOCK_S}s {ALIVE}"
    return {"connect_args": {"connect_timeout": CONNECT_S, "options": rules}}


@contextmanager
def user_errors() -> Iterator[None]:
    """Convert an error of the database in the `with` block to UserError."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DatabaseError, InterfaceError

    try:
        yield
    except (DatabaseError, InterfaceError, StorageInternalError) as error:
        raise unusable(error) from None


def unusable(error: Exception) -> UserError:
    """Return the UserError of a database that is away, locked or damaged."""
    return UserError(
        f"FOVEA_STUDY_STORAGE: the database of the study cannot be used; {ADVICE}. "
        f"What is finished stays in it. Received: {cause_of(error)}"
    )


def cause_of(error: Exception) -> str:
    """Return the message of the driver. SQLAlchemy adds the statement, Optuna hides the message.

    If Optuna has tried again on a connection that was lost, the first error says why it was lost.
    """
    cause = error.__cause__ if error.__cause__ is not None else error
    messages = (getattr(each, "orig", None) for each in (cause, cause.__context__))
    return one_line(next(filter(None, messages), cause))
