"""The address of a version in MLflow → a fresh process that serves it on 127.0.0.1, by HTTP.

This module is both sides of a pipe. The stage `register` starts the process early, because its
packages take seconds to start, and sends it the address later:

    register  → process   models:/digits/3            a line on standard input
    process   → register  {"port": 43211, "half": false}   a line on standard output

The process loads the version from MLflow, and answers requests as `fovea serve` does, on a port
that the operating system chooses. When its standard input is closed, it ends at once. So it never
outlives the stage, also if the stage is killed.
"""

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any

import psutil

from components.errors import UserError, one_line
from pipelines.workspace.environment import quiet_vendors
from pipelines.workspace.processes import stage_environment

COMMAND = (sys.executable, "-m", "pipelines.version_server")
READY_S = 180.0  # a large model is downloaded, loaded and compiled within this time
END_S = 5.0
LAST = 2_000  # bytes of what the process has written to standard error
# Two processes share the GPU, so none of them may take all of its memory at its start.
SHARED_GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class ServerFailedError(Exception):
    """A server of a version does not do what it should. The message is a reason of a verdict.

    So the message has no path, port or time. details: what may have them, and is empty if nothing
    is known.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True)
class Ready:
    """What the process says when it answers. port: on 127.0.0.1. half: see `_half_precision`."""

    port: int
    half: bool


class VersionServer:
    """The process, as the stage `register` sees it."""

    def __init__(self, process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
        self._process, self._stderr = process, stderr

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        return self._process.pid

    def serve(self, address: str) -> Ready:
        """Let the process load and serve a version. It can serve only one.

        address: such as `models:/digits/3`. Raises ServerFailedError if the process ends, or is not
        ready within READY_S seconds.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # It has ended; the end of its output says so, too.
            self._process.stdin.write(f"{address}\n".encode())
        return Ready(**json.loads(self._line(time.monotonic() + READY_S)))

    def memory_mb(self) -> float:
        """Return the memory that the process holds now. Raises ServerFailedError if it is gone."""
        try:
            return float(psutil.Process(self.pid).memory_info().rss) / 1e6
        except psutil.Error:
            raise self.failed("ended while it was asked") from None

    def has_ended(self) -> bool:
        """Return whether the process has ended, or does so within a second."""
        with suppress(subprocess.TimeoutExpired):  # Its connections are closed a moment earlier.
            self._process.wait(1.0)
        return self._process.returncode is not None

    def failed(self, what: str) -> ServerFailedError:
        """Return the error that says what a server of this version does, with its last lines."""
        self._stderr.seek(0)
        lines = self._stderr.read()[-LAST:].decode("utf-8", "replace").splitlines()
        # The address of MLflow can have a password.
        details = re.sub(r"//[^/@\s]+@", "//", one_line(" ".join(lines[-3:]), longest=500))
        return ServerFailedError(f"a server of this version {what}", details)

    def _line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise self.failed(f"was not ready within {READY_S:.0f} s")
                found = os.read(self._process.stdout.fileno(), 4096)
                if not found:
                    raise self.failed("does not start")
                line += found
        return line


@contextmanager
def version_server() -> Iterator[VersionServer]:
    """Start the process, and end it at the end of the `with` statement."""
    for name, value in SHARED_GPU.items():
        os.environ.setdefault(name, value)
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            COMMAND,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=stage_environment({}),
        )
        try:
            yield VersionServer(process, stderr)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
    finally:  # This also runs if a second Ctrl-C interrupts the waiting above.
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Serve the version whose address comes on standard input. This is the process itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A terminal sends Ctrl-C to this process, too.
    answers = os.dup(1)
    os.dup2(2, 1)  # What packages print is no answer.
    addresses: SimpleQueue[str] = SimpleQueue()
    Thread(target=_read_until_end, args=(addresses,), daemon=True).start()
    quiet_vendors()
    try:
        _start_packages()
        _serve(addresses.get(), answers)
    except UserError as error:
        sys.exit(str(error))


def _read_until_end(addresses: SimpleQueue[str]) -> None:
    while line := os.read(0, 4096):  # The address is shorter, and is written at once.
        addresses.put(line.decode().strip())
    os._exit(0)


def _start_packages() -> None:
    """Start Keras and MLflow, which takes seconds, while the stage still works.

    The stage has made the tables of MLflow's store before it starts this process. Two processes
    that make them at the same moment would disturb each other.
    """
    from components.model.backend import load_keras
    from components.serving.server import app  # noqa: F401
    from components.tracking.connection import client

    load_keras()
    client()


def _serve(address: str, answers: int) -> None:
    import socket

    from components.serving.following import Follower
    from components.serving.metrics import Metrics
    from components.serving.server.answering import Answers
    from components.serving.server.app import Settings, build_app
    from components.serving.server.bodies import Limits
    from components.serving.server.running import LOCAL, run_app

    follower = Follower(address, "the version")
    settings = Settings(Limits(), "", LOCAL, lambda model: "")
    app = build_app(Answers(follower, Metrics()), settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        half = _half_precision(follower.current.model.classifier.model)
        ready = {"port": listening.getsockname()[1], "half": half}
        os.write(answers, f"{json.dumps(ready)}\n".encode())
        run_app(app, listening)


def _half_precision(network: Any) -> bool:
    """Return whether a keras.Model computes with so few digits as float16 has.

    A GPU multiplies numbers of float32 as TF32, which has no more digits.
    """
    from components.model.classifier import leaf_layers
    from components.model.devices import gpu_names

    kinds = {layer.compute_dtype for layer in leaf_layers(network)}
    return bool(gpu_names() or kinds & {"float16", "bfloat16"})


if __name__ == "__main__":
    main()
