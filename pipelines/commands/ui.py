"""MLflow's store, and the database of a search → pages of both for the browser.

The pages are served until Ctrl-C. Then every process that serves a page is ended.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import FrameType
from urllib.parse import urlsplit

from components.errors import UserError
from components.review.ways import model_route
from components.tracking.connection import address, connect, is_remote, tracking_uri
from pipelines import artifacts
from pipelines.commands.console import show_lines, show_waiting
from pipelines.commands.review import read_registry, show_warning
from pipelines.workspace.processes import end_group
from pipelines.workspace.searches import has_database, last_search

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LOG, DASHBOARD_LOG = artifacts.STATE / "ui.log", artifacts.STATE / "dashboard.log"
PORTS_TRIED = 50
START_LIMIT_S = 60.0
POLL_S = 0.2


def serve(port: int, name: str | None) -> None:
    """Serve MLflow's page, and the page of a search, on 127.0.0.1 until Ctrl-C or SIGTERM.

    The address of MLflow's page is that of the registered model, if it has a version. If
    MLFLOW_TRACKING_URI is the address of a server, no page of MLflow is served, and only its
    address is printed. If the variable is unset, the page of ./mlflow.db is served. If there is a
    search in this workspace, Optuna Dashboard serves the page of its database.

    Before the addresses, a warning is printed if the champion was set by hand, against the verdict
    on it.

    port: the first port to try; if this port is in use, the next ports are tried. name: the name of
    the registered model; None if it is not known, and nothing can be warned of. Raises
    UserError if no port is free, if a page does not start, or if a server ends by itself.
    """
    database, shown = _database(), name
    if is_remote():
        show_lines(f"MLflow's page: {_at_model(address(), shown)}")
    else:
        show_waiting(
            f"waiting for MLflow's server; it takes 10 to 40 s to start, and writes to {LOG}"
        )
        connect()
        if name is not None:
            registry = read_registry(name)
            show_warning(registry)
            shown = name if registry.versions else None
    try:
        with ExitStack() as stack:
            servers = []
            if not is_remote():
                page = f"http://{HOST}:{_free_port(port)}"
                process = stack.enter_context(_server(page))
                _wait_until_it_answers(f"{page}/health", process, "MLflow's server", LOG)
                show_lines(f"MLflow's page: {_at_model(page, shown)} (Ctrl-C ends it)")
                servers.append((process, "MLflow's server", LOG, page))
                port = int(page.rpartition(":")[2]) + 1
            if database:
                page = f"http://{HOST}:{_free_port(port)}/dashboard"
                process = stack.enter_context(_dashboard(page, database))
                _wait_until_it_answers(page, process, "Optuna Dashboard", DASHBOARD_LOG)
                show_lines(f"Optuna Dashboard: {page} (the trials of the search)")
                servers.append((process, "Optuna Dashboard", DASHBOARD_LOG, page))
            _wait_until_one_ends(servers)
    except KeyboardInterrupt:
        log.info("the pages are closed")


def _at_model(page: str, name: str | None) -> str:
    """Return the address of the page of a registered model; name: None for the page of MLflow."""
    if name is None or not page.startswith("http"):
        return page
    return f"{page.rstrip('/')}/{model_route(name)}"


Server = tuple[subprocess.Popen[str], str, Path, str]  # its process, name, log file and address


def _wait_until_one_ends(servers: Sequence[Server]) -> None:
    while servers:
        for process, server, file, page in servers:
            if process.poll() is not None:
                raise UserError(
                    f"{server} ended by itself; read {file} for the reason. Received: {page}"
                )
        time.sleep(POLL_S)


def _database() -> str | None:
    """Return the address of the database of the newest search here, if there is one."""
    try:
        saved = last_search()
    except UserError as error:  # A damaged search is no reason to hide MLflow's page.
        log.warning(f"no page of the search: {error}")
        return None
    return saved.url if saved and has_database(saved) else None


@contextmanager
def _server(page: str) -> Iterator[subprocess.Popen[str]]:
    """Start `mlflow server` for a `with` block, and yield its process.

    page: the address of the page, such as `http://127.0.0.1:5000`.
    """
    host, port = page.removeprefix("http://").split(":")
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port]
    command += ["--workers", "1", "--backend-store-uri", tracking_uri()]
    command += ["--default-artifact-root", "mlruns"]
    # MLflow's background jobs are switched off, because Fovea does not use them.
    with _process(command, LOG, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}) as process:
        yield process


@contextmanager
def _dashboard(page: str, database: str) -> Iterator[subprocess.Popen[str]]:
    """Start Optuna Dashboard for a `with` block, and yield its process.

    It has no data of other machines: its page is in its package, and its header
    Content-Security-Policy lets the browser load from this server only.

    page: the address of the page. database: that of the database, which may have a password. So it
    is not on the command line, which all users of the machine can read.
    """
    port = urlsplit(page).port
    artifacts.STATE.mkdir(parents=True, exist_ok=True)
    # The file is for this user alone, and is deleted at the end.
    with NamedTemporaryFile("w", dir=artifacts.STATE, suffix=".toml", encoding="utf-8") as config:
        # A string of JSON is also one of TOML.
        config.write(f"[optuna_dashboard]\nstorage = {json.dumps(database)}\n")
        config.flush()
        # Its other server, gunicorn, would start processes of its own.
        command = [sys.executable, "-m", "optuna_dashboard._cli", "--from-config", config.name]
        command += ["--host", HOST, "--port", str(port), "--server", "wsgiref"]
        with _process(command, DASHBOARD_LOG, {"OPTUNA_DASHBOARD_DEBUG": "0"}) as process:
            yield process


@contextmanager
def _process(
    command: Sequence[str], file: Path, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Start a server in its own process group, and yield its process.

    file: gets its output. variables: environment variables that it gets besides ours. At the end of
    the `with` block, every process of the group is ended. During the block, SIGTERM raises
    KeyboardInterrupt.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    log.debug(f"runs: {' '.join(command)}")
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    with file.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_group(process)
        signal.signal(signal.SIGTERM, before)


def _wait_until_it_answers(
    page: str, process: subprocess.Popen[str], server: str, file: Path
) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(page, timeout=2):
                return
        except OSError:
            time.sleep(POLL_S)
    raise UserError(f"{server} did not start; read {file} for the reason. Received: {page}")


def _free_port(first: int) -> int:
    for port in range(first, min(first + PORTS_TRIED, 65_536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise UserError(
        f"all {PORTS_TRIED} ports that were tried are in use; choose another first port with "
        f"--port. Received: {first}"
    )


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
