"""MLFLOW_TRACKING_URI, or nothing → an MLflow that answers, or one sentence within 15 s."""

import os
import re
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

from components.errors import UserError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
DEFAULT_STORE = Path("mlflow.db")
DEFAULT_EXPERIMENT = "fovea"
# Leaves 9 of the 15 s that we promise for what comes before it: starting Python and importing
# MLflow, slow where two cores are busy.
REMOTE_LIMIT_S = 6.0
SQLITE_LIMIT_S = 10.0
# Only names that are not set yet are set.
SETTINGS = {
    # MLflow's own are 120 s and 7 retries: a dead server would hold every single call for minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    # Our own lines say what happens; a bar per file and the making of tables are noise.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
SQLITE = "sqlite:///"
VARIABLE = "MLFLOW_TRACKING_URI"
# Held while the variable is not what the user set it to: threads connect side by side.
_VARIABLE_LOCK = threading.RLock()


def connect() -> None:
    """Make sure that MLflow answers and that the experiment exists.

    Raises UserError with the address within 15 s where it does not.
    """
    experiment_id()


def client() -> "MlflowClient":
    """Return MLflow's client for the address in force, without asking whether it answers."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    # MLflow writes the address to the environment; left there, it would outlive a change of folder.
    with _VARIABLE_LOCK:
        given, uri = _given(), tracking_uri()
        mlflow.set_tracking_uri(uri)
        if not given:
            os.environ.pop(VARIABLE, None)
    # Outside of the lock, for this may ask a database that does not answer.
    return mlflow.MlflowClient(uri)


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, else the sqlite file in this folder, with its absolute path."""
    return _given() or f"{SQLITE}{DEFAULT_STORE.absolute()}"


def address() -> str:
    """Return the same as a person should read it: relative where it can be, without a password."""
    given = _given()
    if not given:
        return f"{SQLITE}{DEFAULT_STORE}"
    parts = urlsplit(given)
    if "@" not in parts.netloc:
        return given
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_remote() -> bool:
    """Tell whether MLflow is anything but a sqlite file."""
    return not tracking_uri().startswith(SQLITE)


def experiment_id() -> str:
    """Return the id of the experiment MLFLOW_EXPERIMENT_NAME, else `fovea`, creating it if need be.

    Raises UserError with the address where MLflow cannot be reached.
    """
    if is_remote():
        import mlflow  # noqa: F401 (a slow disk must not pass for a silent server)

        return _within(REMOTE_LIMIT_S, _experiment_id)
    _check_sqlite(Path(tracking_uri().removeprefix(SQLITE).partition("?")[0]))
    return _experiment_id()


def _given() -> str | None:
    with _VARIABLE_LOCK:
        return os.environ.get(VARIABLE)


def _experiment_id() -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    try:
        mlflow = client()
        found = mlflow.get_experiment_by_name(name)
        if found is None:
            with suppress(Exception):  # another process may create it in this moment
                return str(mlflow.create_experiment(name))
            found = mlflow.get_experiment_by_name(name)
    except Exception as error:  # each kind of store has a driver with exceptions of its own
        raise _unusable(error) from error
    if found is None or found.lifecycle_stage != "active":
        raise UserError(
            f"MLflow at {address()} has deleted this experiment; restore it there, or set "
            f"MLFLOW_EXPERIMENT_NAME to another name. Received: {name}"
        )
    return str(found.experiment_id)


def _check_sqlite(path: Path) -> None:
    """Ask the file itself first: MLflow would try an impossible one again for three minutes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=SQLITE_LIMIT_S)
        try:
            database.execute("BEGIN IMMEDIATE")
        finally:
            database.close()
    except (OSError, sqlite3.Error) as error:
        raise _unusable(error) from error


def _within(limit_s: float, call: Callable[[], T]) -> T:
    """Return what `call` returns; raise UserError where that takes longer than `limit_s` seconds.

    A thread of its own keeps the limit whatever hangs: the name service, the connection, or an
    answer that never comes, and however many retries the user has asked for.
    """
    values: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            values.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(limit_s)
    if errors:
        raise errors[0]
    if not values:
        raise _unusable(TimeoutError(f"no answer within {limit_s:.0f} s"))
    return values[0]


def _unusable(error: Exception) -> UserError:
    reason = re.sub(r"//[^/@\s]+@", "//", one_line(error, longest=None))  # no password in a log
    return UserError(
        f"MLflow cannot be used; mend what is named here, or unset MLFLOW_TRACKING_URI to use "
        f"{DEFAULT_STORE} in this folder ({reason[:300]}). Received: {address()}"
    )
