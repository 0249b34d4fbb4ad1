"""The address of MLflow → a client for MLflow, or a UserError within 15 s if MLflow is unusable.

The address is in the environment variable MLFLOW_TRACKING_URI: a server (remote MLflow) or a sqlite
file. If this variable is unset, the address is the sqlite file mlflow.db in the current folder.

In an experiment of DVC (`dvc exp run`), relative paths start from the main workspace, not from the
current folder. `dvc exp run --temp` and `--queue` run the stages in a temporary folder, which DVC
deletes at the end.
"""

import logging
import os
import re
import sqlite3
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from components.deadline import call_within
from components.errors import UserError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

DEFAULT_STORE = Path("mlflow.db")
DEFAULT_EXPERIMENT = "fovea"
# If MLflow cannot be used, a command must say so within 15 s. A remote MLflow must answer within
# 6 s. The remaining 9 s are for the start of Python and for the import of the package mlflow, which
# is slow if the CPU is busy. A sqlite file must be opened within 10 s. This limit can be longer,
# because the sqlite file is checked before the package mlflow is imported.
REMOTE_LIMIT_S = 6.0
SQLITE_LIMIT_S = 10.0
# While a stage needs MLflow, MLflow is asked again after each pause. It is gone if it does not
# answer twice within the limit. Together these are 13 s.
PAUSE_S, ANSWER_LIMIT_S, FAILURES = 3.0, 5.0, 2
# Environment variables for MLflow → values. If a variable is unset, `client` sets it to its value.
SETTINGS = {
    # MLflow's defaults are 120 s and 7 retries. With the defaults, each call to a server that does
    # not answer would take minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    # MLflow's defaults show a progress bar for each file and a log line for each database table.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # With a server, MLflow would print two lines with emojis at the end of each run.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
SQLITE = "sqlite:///"
VARIABLE = "MLFLOW_TRACKING_URI"
# DVC sets both variables for the stages of an experiment: the name of the experiment, and the root
# of the repository in which the user typed `dvc exp run`. In other runs only DVC_ROOT is set.
DVC_EXPERIMENT, DVC_ROOT = "DVC_EXP_NAME", "DVC_ROOT"
# MLflow writes the path of the folder mlruns into its store as an address, without quoting. Then a
# `%41` in the path of the current folder is read as `A`, and a `'` ends a text of SQL. If the path
# has such characters, `client` gives MLflow the quoted address in this variable of MLflow's server.
# `client` also does this in a temporary folder of DVC.
ARTIFACTS_VARIABLE = "_MLFLOW_SERVER_ARTIFACT_ROOT"
DEFAULT_ARTIFACTS = Path("mlruns")
# Several threads can connect at the same time. The function `client` changes MLFLOW_TRACKING_URI
# for a moment. During this time it holds the lock below. Code that reads MLFLOW_TRACKING_URI also
# takes the lock. So this code never reads the value that `client` has set for a moment.
_VARIABLE_LOCK = threading.RLock()


def connect() -> None:
    """Check that MLflow answers, and create the experiment if it does not exist.

    Raises UserError within 15 s if MLflow does not answer or cannot be used, or if the experiment
    is deleted. The message contains the address of MLflow.
    """
    experiment_id()


def client() -> "MlflowClient":
    """Return MLflow's client for `tracking_uri()`, without the check that `connect` makes."""
    mlflow = _import_mlflow()
    # set_tracking_uri also writes the address to MLFLOW_TRACKING_URI. If the user has not set this
    # variable, the variable is removed again, because the default address depends on the current
    # folder. If the variable stayed and the current folder changed, the address of the old folder
    # would be used.
    with _VARIABLE_LOCK:
        by_user, uri = _address_by_user(), tracking_uri()
        root = main_workspace()
        if uri.startswith(SQLITE) and (_needs_quoting(root) or root != Path.cwd()):
            os.environ[ARTIFACTS_VARIABLE] = (root / DEFAULT_ARTIFACTS).as_uri()
        mlflow.set_tracking_uri(uri)
        if not by_user:
            os.environ.pop(VARIABLE, None)
    # The lock is released before this call, since the call may wait for a slow database.
    made: MlflowClient = mlflow.MlflowClient(uri)
    return made


def tracking_uri() -> str:
    """Return the value of MLFLOW_TRACKING_URI; if unset, the address of mlflow.db.

    mlflow.db is in the main workspace. Its address is absolute. Only if the path of the main
    workspace has characters with a meaning in addresses, such as `?`, the address is relative,
    because SQLAlchemy does not decode quoted characters in the path of an sqlite file. In an
    experiment of DVC, the relative path of a sqlite file starts from the main workspace, too.
    """
    by_user, root = _address_by_user(), main_workspace()
    moved = root != Path.cwd()
    if by_user and not (moved and by_user.startswith(SQLITE)):
        return by_user
    store = root / (by_user.removeprefix(SQLITE) if by_user else DEFAULT_STORE)
    return f"{SQLITE}{os.path.relpath(store) if _needs_quoting(root) else store}"


def main_workspace() -> Path:
    """Return the absolute path of the current folder; in an experiment of DVC, of its repository.

    `dvc exp run --temp` runs the stages in a folder below .dvc/tmp/exps. Then the result is the
    root of the repository in which the user typed this command.
    """
    return Path(os.environ.get(DVC_ROOT) or "").absolute() if dvc_experiment() else Path.cwd()


def dvc_experiment() -> str | None:
    """Return the name of the experiment of DVC in which this process runs, or None.

    An experiment of DVC is one `dvc exp run`. It is not an experiment of MLflow, a list of runs.
    """
    return os.environ.get(DVC_EXPERIMENT)


def address() -> str:
    """Return the address of MLflow for use in messages.

    The result is the value of MLFLOW_TRACKING_URI without user name and password. If this variable
    is unset, the result is the relative address of mlflow.db.
    """
    by_user = _address_by_user()
    return without_password(by_user) if by_user else f"{SQLITE}{DEFAULT_STORE}"


def store() -> str:
    """Return the address of MLflow for a stage's out: no password, no path of this machine.

    If MLflow's store is a sqlite file, the result has only the name of the file.
    """
    file = sqlite_file()
    return f"{SQLITE}{file.name}" if file else address().partition("?")[0]


def without_password(url: str) -> str:
    """Return an address without user name and password.

    >>> without_password("http://ann:secret@10.0.0.1:4200/api")
    'http://10.0.0.1:4200/api'
    """
    return re.sub(r"^([\w+.-]*:)?//[^/\s]*@", r"\1//", url)


def is_remote() -> bool:
    """Return True if the address of MLflow is not a sqlite file."""
    return not tracking_uri().startswith(SQLITE)


def sqlite_file() -> Path | None:
    """Return the path of the sqlite file, or None if the address of MLflow is not a sqlite file."""
    if is_remote():
        return None
    return Path(tracking_uri().removeprefix(SQLITE).partition("?")[0])


def experiment_name() -> str:
    """Return the name of the experiment in MLFLOW_EXPERIMENT_NAME; if it is unset, `fovea`."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT


def experiment_id(name: str | None = None) -> str:
    """Return the id of the experiment. If the experiment does not exist, it is created.

    An experiment is a list of runs in MLflow. name: its name; None means `experiment_name()`.
    Raises UserError if MLflow does not answer or cannot be used, or if the experiment is deleted.
    The message contains the address of MLflow.
    """
    wanted = name or experiment_name()
    file = sqlite_file()
    if file is not None:
        _check_sqlite(file)
        return _experiment_id(wanted)
    _import_mlflow()  # The import is slow, so it is done before the time limit starts.
    return within_limit(lambda: _experiment_id(wanted))


def within_limit(ask: Callable[[], T]) -> T:
    """Return what `ask` returns. Raise UserError if a remote MLflow takes over REMOTE_LIMIT_S."""
    try:
        return call_within(REMOTE_LIMIT_S, ask) if is_remote() else ask()
    except TimeoutError as error:
        raise unusable(error) from None


def while_mlflow_answers(work: Callable[[], T]) -> T:
    """Return what `work` returns. Raise UserError within 15 s if a remote MLflow answers no more.

    work: a function that needs MLflow from its start to its end. It runs in a thread, because a
    request to a server that was stopped would block for minutes. If MLflow does not answer, the
    thread is left behind, and the process must end.
    """
    if not is_remote():
        return work()
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    failures = 0
    while not wait([done], timeout=PAUSE_S).done:
        try:
            call_within(ANSWER_LIMIT_S, lambda: _experiment_id(experiment_name()))
            failures = 0
        except (UserError, TimeoutError) as error:
            failures += 1
            if failures == FAILURES:
                raise error if isinstance(error, UserError) else unusable(error) from None
    failure = done.exception()
    if failure is not None and not isinstance(failure, UserError):
        experiment_id()  # raises UserError if MLflow has gone away, which is the reason then
    return done.result()


def error_of_mlflow(error: Exception) -> UserError | None:
    """Return the error for the user if MLflow raised `error`; None if something else did."""
    exceptions = sys.modules.get("mlflow.exceptions")
    if exceptions is not None and isinstance(error, exceptions.MlflowException):
        return unusable(error)
    return None


def _needs_quoting(path: Path) -> bool:
    return quote(str(path)) != str(path)


def _import_mlflow() -> Any:
    """Import and return the package mlflow, which reads some of SETTINGS when it is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    # It prints a traceback for each request to a sqlite file that is locked or has a full disk.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return mlflow


def _address_by_user() -> str | None:
    with _VARIABLE_LOCK:
        return os.environ.get(VARIABLE)


def _experiment_id(name: str) -> str:
    try:
        mlflow = client()
        experiment = mlflow.get_experiment_by_name(name)
        if experiment is None:
            # If another process creates the experiment at the same moment, create_experiment
            # fails. Then the experiment exists, and the next call finds it.
            with suppress(Exception):
                return str(mlflow.create_experiment(name))
            experiment = mlflow.get_experiment_by_name(name)
    except Exception as error:  # Each kind of store (sqlite, PostgreSQL, HTTP) has its own errors.
        raise unusable(error) from error
    if experiment is None or experiment.lifecycle_stage != "active":
        raise UserError(
            f"the experiment is deleted in MLflow at {address()}; restore the experiment in "
            f"MLflow, or set MLFLOW_EXPERIMENT_NAME to another name. Received: {name}"
        )
    return str(experiment.experiment_id)


def _check_sqlite(path: Path) -> None:
    """Raise UserError if the sqlite file cannot be opened or is locked by another process.

    If the file is locked, the check waits at most SQLITE_LIMIT_S seconds until it is unlocked.
    Without this check MLflow would try to open the file again and again for three minutes. The
    folder of the file is created if it does not exist.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=SQLITE_LIMIT_S)
        try:
            database.execute("BEGIN IMMEDIATE")
        finally:
            database.close()
    except (OSError, sqlite3.Error) as error:
        raise unusable(error) from error


def unusable(error: Exception) -> UserError:
    """Return the error for the user if MLflow failed with `error`."""
    # The user name and the password in an address are removed from the message, and so is the
    # statement that a database refused.
    said = one_line(error, longest=None).partition(" [SQL:")[0]
    reason = re.sub(r"//[^/@\s]+@", "//", said)
    other = f"unset MLFLOW_TRACKING_URI to use {DEFAULT_STORE} in this folder"
    if address() == f"{SQLITE}{DEFAULT_STORE}":
        other = "set MLFLOW_TRACKING_URI to the address of another MLflow"
    return UserError(
        f"MLflow cannot be used ({reason[:300]}); fix this problem, or {other}. "
        f"Received: {address()}"
    )
