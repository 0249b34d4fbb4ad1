"""This process, after a training → tags that name its packages, backend, threads and processor.

Two machines with the same commit and data can train models with different bytes, because their
processors or packages differ. These tags show such a difference.
"""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from components.model.backend import backend, gpu_names
from components.training.feeding import worker_count
from pipelines.installed import PACKAGES, expected_versions

# The tags that `machine` returns.
KEYS = ("python", "packages", "backend", "threads", "workers", "processor")
CPU_FACTS = Path("/proc/cpuinfo")  # only Linux has this file
# Features with which a processor computes on several numbers at once. Code for different features
# rounds differently. The first group is of Intel and AMD, the second of ARM.
FEATURES = ("sse4", "fma", "avx", "amx", "asimd", "sve", "bf16", "i8mm")
VARIABLES = (
    "FOVEA_WORKERS",
    "FOVEA_DEVICES",
    "FOVEA_MACHINES",
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
)


def machine() -> dict[str, str]:
    """Return the tags of the training that has just ended in this process.

    python: the version of Python. packages: name and version of each package that this process has
    imported and that pipelines/packages/training.txt lists, because it can change the model.
    backend: the backend of Keras. threads: the number of processors that this process may use, and
    the environment variables about threads and devices. workers: the number of processes that
    computed batches; it does not change the model. processor: the architecture, the name and the
    vector features of the processor, and the names of the GPUs.
    """
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(loaded_packages()),
        "backend": backend(),
        "threads": "; ".join(_threads()),
        "workers": str(worker_count()),
        "processor": "; ".join(filter(None, _processor())),
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
    limits = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    return [f"{usable} processors", *limits]


def _processor() -> list[str]:
    facts = _cpu_facts()
    features = facts.get("flags") or facts.get("Features") or ""
    vector = sorted(word for word in features.split() if word.startswith(FEATURES))
    name = facts.get("model name") or platform.processor()
    return [platform.machine(), name, " ".join(vector), *gpu_names()]


def _cpu_facts() -> dict[str, str]:
    """Return name → value of the first processor in /proc/cpuinfo; empty on other systems."""
    try:
        lines = CPU_FACTS.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    return {name.strip(): value.strip() for name, value in pairs}
