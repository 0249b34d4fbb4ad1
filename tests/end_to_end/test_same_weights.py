"""One commit, two runs: other workers, cores, loads and environments, and the same weights."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.components.training.alone import train_alone

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []  # on Linux
# What a user may have set for other programs. Two of them would end a training early.
STRANGE = {
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "KERAS_NNX_ENABLED": "true",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "NPROC": "1",
    "PYTHONHASHSEED": "3",
}
KERAS_JSON = """
{"floatx": "float16", "epsilon": 1e-3, "backend": "torch", "image_data_format": "channels_first",
 "nnx_enabled": true}
"""


@contextmanager
def only_on(cores: list[int]) -> Iterator[None]:
    """Let the programs that this process starts use these cores only."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


@contextmanager
def busy() -> Iterator[None]:
    """Let another program use the same cores all the time."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as program:
        try:
            yield
        finally:
            program.kill()


@pytest.mark.slow
@pytest.mark.skipif(len(CORES) < 2, reason="needs Linux and two cores")
@pytest.mark.parametrize("name", ["tensorflow", "jax"])
def test_workers_cores_load_and_environment_change_no_byte(name: str, tmp_path: Path) -> None:
    """Without `train.threads` a backend takes the number of cores, which other weights follow."""
    (tmp_path / "keras.json").write_text(KERAS_JSON)
    strange = {**STRANGE, "KERAS_HOME": str(tmp_path)}

    def train(workers: str, **variables: str) -> list[bytes]:
        folder = tmp_path / workers
        folder.mkdir()
        variables |= {"KERAS_BACKEND": name, "FOVEA_WORKERS": workers}
        train_alone(folder, {"train.threads": 2, "train.mixup": 0.4}, **variables)
        return [(folder / f"{model}.keras").read_bytes() for model in ("fresh", "warm")]

    with only_on(CORES[:2]):
        first = train("1")
    with only_on(CORES[:1]), busy():
        assert train("4", **strange) == first
