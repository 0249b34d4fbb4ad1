"""This process, after a training → tags that name its packages, backend, threads and processor.

Two machines with the same commit and data can train models with different bytes, because their
processors or packages differ. These tags show such a difference.
"""

import os
import platform
import sys
from importlib import metadata

from components.model import devices
from components.model.arithmetic import VARIABLES, processor
from components.model.backend import backend
from components.training import feeding, machines
from pipelines.installed import PACKAGES, expected_versions

# The tags that `machine` returns.
KEYS = ("python", "packages", "backend", "threads", "workers", "processor")
# Variables about devices and threads, beside those that choose how numbers are computed.
LIMITS = (
    *(feeding.VARIABLE, devices.VARIABLE, machines.COUNT),
    *("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"),
)


def machine() -> dict[str, str]:
    """Return the tags of the training that has just ended in this process.

    python: the version of Python. packages: name and version of each package that this process has
    imported and that pipelines/packages/training.txt lists, because it can change the model.
    backend: the backend of Keras. threads: the number of processors that this process may use, and
    the environment variables about threads, devices and the arithmetic. workers: the number of
    processes that computed batches; it does not change the model. processor: the architecture, the
    name and the vector features of the processor, and the names of the GPUs.
    """
    rounding = how_it_rounds()
    return {
        "python": rounding["python"],
        "packages": ", ".join(loaded_packages()),
        "backend": rounding["backend"],
        "threads": "; ".join(_threads()),
        "workers": str(feeding.worker_count()),
        "processor": rounding["processor"],
    }


def how_it_rounds() -> dict[str, str]:
    """Return the tags python, backend and processor; to list the packages takes 0.1 s more."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "backend": backend(),
        "processor": "; ".join(processor()),
    }


def loaded_packages() -> list[str]:
    """Return `name version` of each imported package that can change a model, sorted by name."""
    names = expected_versions((PACKAGES / "training.txt").read_text(encoding="utf-8"))
    modules = metadata.packages_distributions()
    loaded = {
        name.lower().replace("_", "-")
        for module in modules.keys() & sys.modules.keys()
        for name in modules[module]
    }
    return [f"{name} {metadata.version(name)}" for name in sorted(loaded & names.keys())]


def _threads() -> list[str]:
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    limits = [f"{name}={os.environ[name]}" for name in (*LIMITS, *VARIABLES) if name in os.environ]
    return [f"{usable} processors", *limits]
