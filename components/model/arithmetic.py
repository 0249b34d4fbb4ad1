"""This process → what decides, beside code, params and images, the last bits that it computes.

Equal numbers can be added in another order, or by other instructions, and then differ in their last
bits. What was computed under other conditions is not used again: the features in the store and the
checkpoints of a training are found by these conditions.
"""

import os
import platform
from importlib import metadata
from pathlib import Path

from components.model import backend, devices

CPU_FACTS = Path("/proc/cpuinfo")  # only Linux has this file
# Features with which a processor computes on several numbers at once. Code for different features
# rounds differently. The first group is of Intel and AMD, the second of ARM.
FEATURES = ("sse4", "fma", "avx", "amx", "asimd", "sve", "bf16", "i8mm")
# Variables with which users choose other instructions, another order or another precision.
VARIABLES = (
    *("TF_ENABLE_ONEDNN_OPTS", "TF_SET_ONEDNN_FPMATH_MODE", "TF_XLA_FLAGS", "TF_DETERMINISTIC_OPS"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("XLA_FLAGS", "JAX_PLATFORMS", "JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION"),
    *("JAX_DEFAULT_PRNG_IMPL", "JAX_THREEFRY_PARTITIONABLE", "JAX_RANDOM_SEED_OFFSET"),
    *("JAX_DISABLE_JIT", "NVIDIA_TF32_OVERRIDE", "OPENCV_IPP", "OPENCV_CPU_DISABLE"),
    *("NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE"),
)
PACKAGES = {"tensorflow": ("keras", "tensorflow"), "jax": ("keras", "jax", "jaxlib")}


def arithmetic() -> dict[str, str]:
    """Return name → value of the conditions under which this process computes.

    They are the backend with its packages and threads, the processor, and the variables of
    VARIABLES that are set. `load_keras` must have been called before.
    """
    return {
        **{name: metadata.version(name) for name in PACKAGES[backend.backend()]},
        "threads": str(backend.threads()),
        "processor": "; ".join(processor()),
        **variables(),
    }


def variables() -> dict[str, str]:
    """Return name → value of the variables of VARIABLES that are set."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def processor() -> list[str]:
    """Return the architecture, the name and the vector features of the processor, and the GPUs."""
    facts = _cpu_facts()
    features = facts.get("flags") or facts.get("Features") or ""
    vector = sorted(word for word in features.split() if word.startswith(FEATURES))
    name = facts.get("model name") or platform.processor()
    known = [platform.machine(), name, " ".join(vector), *devices.gpu_names()]
    return [fact for fact in known if fact]


def _cpu_facts() -> dict[str, str]:
    """Return name → value of the first processor in /proc/cpuinfo; empty on other systems."""
    try:
        lines = CPU_FACTS.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    return {name.strip(): value.strip() for name, value in pairs}
