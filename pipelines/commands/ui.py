"""MLflow's store → MLflow's page for the browser.

The page is served until Ctrl-C. Then every process that serves the page is ended.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from components.errors import UserError
from components.tracking.connection import address, connect, is_remote, tracking_uri
from pipelines import artifacts
from pipelines.commands.console import show_lines, show_waiting
from pipelines.commands.review import read_registry, show_warning
from pipelines.workspace.processes import end_group

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LOG = artifacts.STATE / "ui.log"
PORTS_TRIED = 50
START_LIMIT_S = 60.0
POLL_S = 0.2


def serve(port: int, name: str | None) -> None:
    """Serve MLflow's page on 127.0.0.1 until Ctrl-C or SIGTERM.

    If MLFLOW_TRACKING_URI is the address of a server, no page is served, and only this address is
    printed. If the variable is unset, the page of ./mlflow.db is served.

    Before the address of the page, a warning is printed if the champion was set by hand, against
    the verdict on it.

    port: the first port to try; if this port is in use, the next ports are tried. name: the name of
    the registered model; None if it is not known, and nothing can be warned of. Raises
    UserError if no port is free, if the page does not start, or if the server ends by itself.
    """
    if is_remote():
        show_lines(f"MLflow's page: {address()}")
        return
    show_waiting(f"waiting for MLflow's server; it takes 10 to 40 s to start, and writes to {LOG}")
    connect()
    if name is not None:
        show_warning(read_registry(name))
    page = f"http://{HOST}:{_free_port(port)}"
    try:
        with _server(page) as process:
            _wait_until_it_answers(page, process)
            show_lines(f"MLflow's page: {page} (Ctrl-C ends it)")
            process.wait()
    except KeyboardInterrupt:
        log.info("MLflow's page is closed")
        return
    raise UserError(f"MLflow's server ended by itself; read {LOG} for the reason. Received: {page}")


@contextmanager
def _server(page: str) -> Iterator[subprocess.Popen[str]]:
    """Start `mlflow server` in its own process group, and yield its process.

    page: the address of the page, such as `http://127.0.0.1:5000`. At the end of the `with` block,
    every process of the group is ended. During the block, SIGTERM raises KeyboardInterrupt.
    """
    host, port = page.removeprefix("http://").split(":")
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port]
    command += ["--workers", "1", "--backend-store-uri", tracking_uri()]
    command += ["--default-artifact-root", "mlruns"]
    # MLflow's background jobs are switched off, because Fovea does not use them.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    LOG.parent.mkdir(parents=True, exist_ok=True)
    log.debug(f"runs: {' '.join(command)}")
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    with LOG.open("w") as output:
        process = subprocess.Popen(
            command,
            env=environment,
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


def _wait_until_it_answers(page: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{page}/health", timeout=2):
                return
        except OSError:
            time.sleep(POLL_S)
    raise UserError(f"MLflow's server did not start; read {LOG} for the reason. Received: {page}")


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
