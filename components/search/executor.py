"""A number of workers → processes on this machine that run trials, and are started again.

What a pool promises: as long as it is used in a `with` statement, its workers run; a worker that
ended or was killed is replaced; after the statement none of them is left.
"""

import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from components.errors import UserError, one_line
from components.files import is_paused
from components.search.workers import Ended, Failures
from components.worker_processes import cores

log = logging.getLogger(__name__)

STOP_S = 20.0  # how long a worker may take to give its trial back
# A worker that is paused (SIGSTOP) in the middle of a transaction locks a database in a file for
# all others, who wait for LOCK_S, again and again. So it is killed after this time.
PAUSED_S = 20.0
MISTAKE = "error: "  # a worker that ends with a UserError prints this and its sentence


@dataclass(frozen=True)
class _Worker:
    """A worker process. log: the file with what it prints, from byte `begin` on."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    begin: int


class LocalWorkers:
    """Worker processes on this machine, in a `with` statement.

    count: how many run at the same time. command: a function from the name of a worker to its
    command line. devices: the GPUs, of which worker i gets number i modulo their number; without
    any, each worker gets its share of the cores. log_folder: where what they print is written.
    """

    def __init__(
        self,
        count: int,
        command: Callable[[str], Sequence[str]],
        devices: Sequence[str],
        log_folder: Path,
    ) -> None:
        self.count, self._command, self._devices, self._logs = count, command, devices, log_folder
        self._workers: dict[int, _Worker] = {}
        self._started = 0
        self._failures = Failures()
        self._paused: set[str] = set()  # the names of workers that were killed because of it
        self._over = threading.Event()
        # The thread that calls `tend` may itself wait for the database.
        self._watch = threading.Thread(target=self._kill_paused, daemon=True, name="paused workers")

    def __enter__(self) -> "LocalWorkers":
        """Start no worker: `tend` does it."""
        self._logs.mkdir(parents=True, exist_ok=True)
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all workers: first with SIGTERM, so that they give their trials back."""
        self._over.set()
        self._watch.join()
        processes = [worker.process for worker in self._workers.values()]
        alive = [process for process in processes if process.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGCONT)  # A paused process does not get SIGTERM.
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in alive:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def tend(self, wanted: int, completed: int) -> list[Ended]:
        """Replace the workers that have ended, up to `wanted`; return those that failed or died.

        completed: see `Workers`. Raises UserError if a worker ends with a UserError: all workers
        are on this machine, so the others would end with it, too. Also raises UserError if workers
        fail again and again.
        """
        ended = []
        for place, worker in list(self._workers.items()):
            code = worker.process.poll()
            if code is None:
                continue
            del self._workers[place]
            if worker.name in self._paused:
                cause = f"it was paused for {PAUSED_S:g} s"
                ended.append(Ended(worker.name, cause, failed=False))
            elif code:
                ended.append(_ended(worker, code))
        if self._failures.too_many(ended, completed, len(self._workers)):
            return ended
        for place in range(min(wanted, self.count)):
            if place not in self._workers:
                self._start(place)
        return ended

    def kill(self, worker: str) -> None:
        """Kill a worker that hangs or is paused. `tend` does not report it: its end has a cause."""
        for place, known in list(self._workers.items()):
            if known.name == worker:
                known.process.kill()
                known.process.wait()
                del self._workers[place]

    def _kill_paused(self) -> None:
        since: dict[str, float] = {}
        while not self._over.wait(PAUSED_S / 10):
            paused = [
                worker for worker in list(self._workers.values()) if is_paused(worker.process.pid)
            ]
            now = time.monotonic()
            since = {worker.name: since.get(worker.name, now) for worker in paused}
            for worker in paused:
                if now - since[worker.name] >= PAUSED_S:
                    self._paused.add(worker.name)
                    worker.process.kill()

    def _start(self, place: int) -> None:
        name = f"{os.uname().nodename}:{os.getpid()}:{self._started}"
        self._started += 1
        environment = dict(os.environ)
        if self._devices:
            environment["CUDA_VISIBLE_DEVICES"] = self._devices[place % len(self._devices)]
        log = self._logs / f"worker-{place}.log"
        with log.open("ab") as output:
            begin = output.tell()
            process = subprocess.Popen(
                self._command(name),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C in the terminal is for the search alone.
            )
        if not self._devices and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, self._share(place))
        self._workers[place] = _Worker(name, process, log, begin)

    def _share(self, place: int) -> set[int]:
        """Return the cores of a worker: all of them, cut into equal parts."""
        mine = sorted(os.sched_getaffinity(0))
        parts = min(self.count, len(mine))
        return set(mine[place % parts :: parts])


def _ended(worker: _Worker, code: int) -> Ended:
    """Return why a worker has ended. code: its exit status.

    Raises UserError with the sentence of the worker if a UserError has ended it.
    """
    if code == -signal.SIGKILL:
        cause = "the system killed it, most likely because memory ran out"
        return Ended(worker.name, cause, failed=False)
    if code < 0 or code == 128 + signal.SIGTERM:
        cause = f"it was ended by {signal.Signals(-code if code < 0 else code - 128).name}"
        return Ended(worker.name, cause, failed=False)
    with worker.log.open("rb") as file:
        file.seek(worker.begin)
        lines = file.read().decode(errors="replace").split("\n")
    for line in reversed(lines):
        if line.startswith(MISTAKE):
            raise UserError(line.removeprefix(MISTAKE))
    last = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
    cause = f"it ended with exit status {code}: {one_line(last)}; see {worker.log}"
    return Ended(worker.name, cause, failed=True)


def default_count(devices: int) -> int:
    """Return how many workers run at the same time: one for each GPU.

    Without GPUs, it is one for each core, at most 4. devices: the number of GPUs.
    """
    return devices or min(4, cores())


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Return the numbers or names of the GPUs that this process may use; empty without a GPU.

    TensorFlow is not asked, because it would take the memory of all GPUs.
    """
    text = environment.get("CUDA_VISIBLE_DEVICES")
    if text is not None:
        return [name.strip() for name in text.split(",") if name.strip() and name.strip() != "-1"]
    program = shutil.which("nvidia-smi")
    if not program:
        return []
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False).stdout
    return [
        str(number) for number, line in enumerate(listed.splitlines()) if line.startswith("GPU")
    ]
