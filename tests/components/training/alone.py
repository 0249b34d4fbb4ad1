"""A backend, threads and params → a tiny network, trained in a process of its own.

A process can have one backend and one number of threads. Run as
`python -m tests.components.training.alone FOLDER [KEY=VALUE …]`. It writes fresh.keras, trained
from random weights in one phase, and warm.keras, trained from fresh.keras in two phases, and the
probabilities of both for the images of val. If the folder has a file given.keras, it also writes
the probabilities of this classifier.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.components.training.conftest import tiny_data, tiny_hyperparameters

ROOT = Path(__file__).parents[3]
BOTH = {
    "model.weights": "data/weights/fresh.keras",
    "train.head.epochs": 1,
    "train.finetune.epochs": 1,
}


def train_alone(folder: Path, overrides: dict[str, Any], **variables: str) -> str:
    """Train in another process with these environment variables; return its last line."""
    pairs = [f"{key}={value}" for key, value in overrides.items()]
    command = [sys.executable, "-m", "tests.components.training.alone", str(folder), *pairs]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def _weights_are_on(network: Any) -> int:
    """Return on how many devices the weights of a network are."""
    weight = network.weights[0].value
    if hasattr(weight, "sharding"):
        return len(weight.sharding.device_set)
    return len(getattr(weight, "values", [weight]))


def _split_cpu(devices: int) -> None:
    """Let the CPU be several devices; for JAX, XLA_FLAGS does this."""
    if devices > 1 and os.environ.get("KERAS_BACKEND") != "jax":
        import tensorflow as tf

        [cpu] = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(devices)]
        tf.config.set_logical_device_configuration(cpu, parts)


def main(folder: Path, overrides: dict[str, Any]) -> None:
    _split_cpu(int(os.environ.get("CPU_DEVICES", "1")))

    from components.model import backbones
    from components.model.backend import backend
    from components.model.classifier import predict
    from components.model.devices import gpu_names
    from components.model.model_file import read_classifier, write_classifier
    from components.params.reader import read_params
    from components.training.training import train_classifier
    from tests.cards import DIGITS
    from tests.conftest import _two_convolutions

    backbones.compact = _two_convolutions
    data = tiny_data()
    fresh = tiny_hyperparameters(read_params(DIGITS)).with_overrides(overrides)
    weights = None
    for name, params in (("fresh", fresh), ("warm", fresh.with_overrides(BOTH))):
        trained = train_classifier(params, data, weights, lambda row: None, folder)
        weights = folder / f"{name}.keras"
        write_classifier(weights, trained.classifier)
        np.save(folder / f"{name}.npy", predict(read_classifier(weights), data.val.inputs))
    if (given := folder / "given.keras").exists():
        np.save(folder / "given.npy", predict(read_classifier(given), data.val.inputs))
    spread = _weights_are_on(trained.classifier.model)
    print(backend(), gpu_names(), spread)


if __name__ == "__main__":
    pairs = [pair.split("=") for pair in sys.argv[2:]]
    main(Path(sys.argv[1]), {key: yaml.safe_load(value) for key, value in pairs})
