"""MLFLOW_TRACKING_URI, if set → an MLflow that answers, or an error of one sentence within 15 s."""

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
# We promise an error within 15 s. The other 9 s are for starting Python and importing MLflow, which
# is slow where two cores are busy.
REMOTE_LIMIT_S = 6.0
SQLITE_LIMIT_S = 10.0
# Environment variables, set only where the user has not set them.
SETTINGS = {
    # MLflow's defaults are 120 s and 7 retries: with a dead server, each call would take minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    # Our own messages say what happens, without a bar per file and a line per database table.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
SQLITE = "sqlite:///"
VARIABLE = "MLFLOW_TRACKING_URI"
# Held while the variable differs from what the user set, since several threads may connect.
_VARIABLE_LOCK = threading.RLock()


def connect() -> None:
    """Make sure that MLflow answers and that the experiment exists.

    Raises UserError with the address where it does not, within 15 s.
    """
    experiment_id()


def client() -> "MlflowClient":
    """Return MLflow's client for the current address, without a check that MLflow answers."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    # MLflow writes the address to the environment. There it would still be used after a change of
    # the current folder.
    with _VARIABLE_LOCK:
        by_user, uri = _address_by_user(), tracking_uri()
        mlflow.set_tracking_uri(uri)
        if not by_user:
            os.environ.pop(VARIABLE, None)
    # Outside of the lock, since this may wait for a database that does not answer.
    return mlflow.MlflowClient(uri)


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, else the sqlite file in this folder, with its absolute path."""
    return _address_by_user() or f"{SQLITE}{DEFAULT_STORE.absolute()}"


def address() -> str:
    """Return `tracking_uri` for messages: relative where that is possible, without a password."""
    by_user = _address_by_user()
    if not by_user:
        return f"{SQLITE}{DEFAULT_STORE}"
    parts = urlsplit(by_user)
    if "@" not in parts.netloc:
        return by_user
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_remote() -> bool:
    """Tell whether MLflow is anything but a sqlite file."""
    return not tracking_uri().startswith(SQLITE)


def experiment_id() -> str:
    """Return the id of the experiment MLFLOW_EXPERIMENT_NAME, else `fovea`; create it if missing.

    Raises UserError with the address where MLflow cannot be reached.
    """
    if is_remote():
        import mlflow  # noqa: F401 (a slow import must not look like a server that does not answer)

        return _call_within(REMOTE_LIMIT_S, _experiment_id)
    _check_sqlite(Path(tracking_uri().removeprefix(SQLITE).partition("?")[0]))
    return _experiment_id()


def _address_by_user() -> str | None:
    with _VARIABLE_LOCK:
        return os.environ.get(VARIABLE)


def _experiment_id() -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    try:
        mlflow = client()
        experiment = mlflow.get_experiment_by_name(name)
        if experiment is None:
            with suppress(Exception):  # another process may create it at the same moment
                return str(mlflow.create_experiment(name))
            experiment = mlflow.get_experiment_by_name(name)
    except Exception as error:  # each kind of store has a driver with its own exceptions
        raise _unusable(error) from error
    if experiment is None or experiment.lifecycle_stage != "active":
        raise UserError(
            f"this experiment is deleted in MLflow at {address()}; restore it there, or set "
            f"MLFLOW_EXPERIMENT_NAME to another name. Received: {name}"
        )
    return str(experiment.experiment_id)


def _check_sqlite(path: Path) -> None:
    """Open the file itself first: MLflow would retry an unusable file for three minutes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=SQLITE_LIMIT_S)
        try:
            database.execute("BEGIN IMMEDIATE")
        finally:
            database.close()
    except (OSError, sqlite3.Error) as error:
        raise _unusable(error) from error


def _call_within(limit_s: float, call: Callable[[], T]) -> T:
    """Return what `call` returns; raise UserError where that takes longer than `limit_s` seconds.

    It runs in a thread, so the limit holds whatever it waits for (the name service, the connection,
    an answer that never comes) and for any number of retries that the user has set.
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
        f"MLflow cannot be used; fix the cause named here, or unset MLFLOW_TRACKING_URI to use "
        f"{DEFAULT_STORE} in this folder ({reason[:300]}). Received: {address()}"
    )
