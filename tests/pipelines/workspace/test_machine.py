import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from components.model import arithmetic
from pipelines.workspace import machine
from pipelines.workspace.machine import KEYS, loaded_packages


def test_only_imported_packages_that_can_change_a_model_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "optuna", raising=False)
    named = dict(package.split() for package in loaded_packages())
    assert named["numpy"] == np.__version__
    assert named["pyyaml"] == metadata.version("pyyaml")  # its module is `yaml`
    assert "optuna" not in named
    assert "pytest" not in named


def test_threads_and_processor_are_short_and_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in arithmetic.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("TF_VAR_password", "secret")  # Terraform has the same prefix.
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    tags = machine.machine()
    assert tags["backend"] == "jax"
    assert tuple(tags) == KEYS
    assert tags["threads"].endswith("processors; OMP_NUM_THREADS=3; TF_ENABLE_ONEDNN_OPTS=0")
    assert all(0 < len(value) < 1_000 for value in tags.values())


def test_the_features_of_a_processor_are_those_that_change_how_it_rounds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts = "model name\t: Xeon\nflags\t\t: fpu avx2 fma sse4_1 rdrand\n\nmodel name: other\n"
    file = tmp_path / "cpuinfo"
    file.write_text(facts)
    monkeypatch.setattr(arithmetic, "CPU_FACTS", file)
    monkeypatch.setattr(arithmetic.devices, "gpu_names", lambda: ["H100"])
    assert machine.machine()["processor"].endswith("; Xeon; avx2 fma sse4_1; H100")
