"""Servers as processes, and clients that ask them as fast as they answer."""

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psutil

CLIENTS = 8
FIELDS = ("requests/s", "p50 ms", "p99 ms", "failed")
START_S = 120  # for a server, before it answers


@dataclass
class Load:
    """What clients have seen. latencies_s: of each answer with the status 200."""

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0
    versions: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Return the answers with the status 200 in a second."""
        return len(self.latencies_s) / self.seconds

    def latency_ms(self, share: float) -> float:
        """Return the latency that so large a share of the answers does not exceed."""
        latencies = sorted(self.latencies_s) or [float("nan")]
        if share == 0.5:
            return 1000 * statistics.median(latencies)
        return 1000 * latencies[int(share * (len(latencies) - 1))]

    def row(self) -> list[str]:
        """Return FIELDS as texts."""
        p50, p99 = self.latency_ms(0.5), self.latency_ms(0.99)
        return [f"{self.rate:.1f}", f"{p50:.1f}", f"{p99:.1f}", str(self.failed)]


@dataclass(frozen=True)
class Body:
    """The body of a request and its type."""

    kind: str
    content: bytes


def ask(
    address: str, path: str, bodies: Sequence[Body], seconds: float = 1e9, most: int = 10**9
) -> Load:
    """Let CLIENTS clients send bodies, each one after the answer to the one before.

    They end after `seconds`, or when `most` requests are sent.
    """
    found, lock, until = Load(), threading.Lock(), time.monotonic() + seconds
    numbers, place = count(), urlsplit(address)

    def work() -> None:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)
        while (number := next(numbers)) < most and time.monotonic() < until:
            body, begun = bodies[number % len(bodies)], time.perf_counter()
            try:
                connection.request("POST", path, body.content, {"Content-Type": body.kind})
                answer = connection.getresponse()
                content, fine = answer.read(), answer.status == 200
            except (OSError, http.client.HTTPException):
                connection.close()
                content, fine = b"", False
            taken = time.perf_counter() - begun
            with lock:
                found.failed += not fine
                if fine:
                    found.latencies_s.append(taken)
                    if path == "/predict":
                        found.versions[json.loads(content)["model"]["version"] or 0] += 1
        connection.close()

    begun = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.seconds = time.monotonic() - begun
    return found


@dataclass(frozen=True)
class Command:
    """How a server is started, and the path that answers with 200 when it is ready."""

    words: Sequence[str]
    port: int
    health: str

    @property
    def log(self) -> Path:
        """Return the file in the current folder that the server writes to."""
        return Path(f"server-{self.port}.log")


def fovea_command(model: str, *more: str) -> Command:
    """Return the command of `fovea serve`."""
    port, fovea = free_port(), "from pipelines.commands.fovea import main; main()"
    options = ["--model", model, "--port", str(port), *more]
    return Command([sys.executable, "-c", fovea, "serve", *options], port, "/readyz")


def mlflow_command(model: str) -> Command:
    """Return the command of `mlflow models serve`."""
    port = free_port()
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    words = [*serve, "-m", model, "--host", "127.0.0.1", "--port", str(port)]
    return Command(words, port, "/ping")


@contextmanager
def server(command: Command) -> Iterator[tuple[str, psutil.Process]]:
    """Start a server for a `with` statement; yield its address and its process."""
    with command.log.open("w") as log:
        process = subprocess.Popen(command.words, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(command, process)
            yield f"http://127.0.0.1:{command.port}", psutil.Process(process.pid)
        finally:
            for kind in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, kind)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(40)


def _wait(command: Command, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", command.port, timeout=START_S)
            connection.request("GET", command.health)
            if connection.getresponse().status == 200:
                connection.close()
                return
        time.sleep(0.2)
    last = [line for line in command.log.read_text().splitlines() if line.strip()][-20:]
    sys.exit("the server does not answer; its last lines:\n" + "\n".join(last))


def free_port() -> int:
    """Return a port that is unused now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
