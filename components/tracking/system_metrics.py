"""Processor, memory, GPU, disk and network of this machine → metrics of a run, every few seconds.

MLflow has a monitor of its own, but it sends each sample to the server itself, and stops if the
server does not answer. Here MLflow's collectors measure, and the samples go the way of all metrics
of a run. Their names begin with `system/`, so MLflow shows them on the page "System metrics".
"""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from components.errors import one_line
from components.tracking.runs import Run

log = logging.getLogger(__name__)

INTERVAL_S = 10.0  # between two samples, as in MLflow
# MLflow's own variables
SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
INTERVAL = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
STOP_LIMIT_S = 5.0  # a driver that hangs must not stop the stage


@contextmanager
def system_metrics(run: Run) -> Iterator[None]:
    """Log how busy the machine is while the block runs, from a thread.

    A last sample is logged at the end of the block, so that a short block has one, too. If the
    machine cannot be measured, a warning says so, and the block goes on.

    The environment variables are those of MLflow: MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false turns
    it off, and MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL is the time between two samples in seconds.
    """
    if os.environ.get(SWITCH, "").strip().lower() in ("false", "0"):
        yield
        return
    sampler = _Sampler(run)
    sampler.start()
    try:
        yield
    finally:
        idle = sampler.stop()
    if idle:
        sampler.sample()


class _Sampler:
    """A thread that logs a sample after each interval, until it is stopped or a sample fails."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._step = 0
        self._collectors: list[Any] = []
        self._failed = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> bool:
        """End the thread. Return whether it has ended."""
        self._stopped.set()
        self._thread.join(STOP_LIMIT_S)
        return not self._thread.is_alive()

    def sample(self) -> None:
        """Log a sample. If this fails, say so once, and never try again."""
        if self._failed:
            return
        try:
            values: dict[str, float] = {}
            for collector in self._collectors:
                collector.collect_metrics()
                values |= collector.aggregate_metrics()
                collector.clear_metrics()
            metrics = {f"system/{name}": value for name, value in values.items()}
            self._run.log_metrics(metrics, step=self._step)
            self._step += 1
        except Exception as error:
            self._fail(error)

    def _work(self) -> None:
        try:
            interval_s = float(os.environ.get(INTERVAL) or INTERVAL_S)
            self._collectors = _collectors()
        except Exception as error:
            self._fail(error)
        while not self._failed and not self._stopped.wait(interval_s):
            self.sample()

    def _fail(self, error: Exception) -> None:
        self._failed = True
        log.warning(f"how busy the machine is goes no longer to MLflow: {one_line(error)}")


def _collectors() -> list[Any]:
    """Return those of MLflow's collectors that work on this machine.

    Those of GPUs need the package nvidia-ml-py or pyrsmi.
    """
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    collectors = []
    kinds: list[Any] = [CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor, ROCMMonitor]
    for kind in kinds:
        try:
            collector = kind()
            # The first value of the processor is always 0.
            collector.collect_metrics()
            collector.clear_metrics()
        except Exception as error:  # For example, there is no such GPU.
            log.debug(f"MLflow's {kind.__name__} does not work here: {one_line(error)}")
        else:
            collectors.append(collector)
    return collectors
