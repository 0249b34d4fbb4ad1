"""Hyperparameters, data and weights of a training → everything that decides its result, by name.

A training goes on from a checkpoint only if all of this is the same as when the checkpoint was
written. So it ends with the same bytes as a training that was never stopped.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.files import sha256
from components.model import devices
from components.model.arithmetic import VARIABLES
from components.model.backend import VARIABLE as BACKEND
from components.model.backend import backend, load_keras
from components.params.hyperparameters import Hyperparameters
from components.tracking.runs import dotted
from components.training import machines
from components.training_set.examples import Data
from pipelines.installed import PACKAGES, expected_versions, installed_version
from pipelines.workspace.machine import how_it_rounds

ROOT = Path(__file__).parents[2]
# The code that decides the result, as in dvc.yaml at the stage `train`; a test compares them.
CODE = (
    "components/calibration",
    "components/files.py",
    "components/model",
    "components/params/augmentation.py",
    "components/params/blocks.py",
    "components/params/hyperparameters.py",
    "components/params/ingest.py",
    "components/params/model.py",
    "components/params/train.py",
    "components/training",
    "components/training_set/costs.py",
    "components/training_set/examples.py",
    "components/training_set/picture.py",
    "components/training_set/pixels.py",
    "components/words.py",
    "pipelines/augmentation_picture.py",
    "pipelines/formats.py",
    "pipelines/train.py",
    "pipelines/training_data.py",
)
SPREAD = (devices.VARIABLE, machines.COUNT)  # over which devices and machines a training is spread


def training_key(
    hyperparameters: Hyperparameters, data: Data, weights: Path | None
) -> dict[str, str]:
    """Return name → value of everything that decides the result of a training.

    The value of a param, package or environment variable is its text. The value of data, code or
    weights is a sha256.
    hyperparameters: the values with which the training runs, after the search. data: the images,
    labels and balance plan. weights: the `.keras` file with the weights at the start, or None.
    """
    load_keras(hyperparameters.train.threads)  # Only then `how_it_rounds` knows the GPUs.
    return {
        **shared_key(hyperparameters, data, weights),
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "not set"),
        **how_it_rounds(),
    }


def shared_key(
    hyperparameters: Hyperparameters, data: Data, weights: Path | None
) -> dict[str, str]:
    """Return the part of the key that several machines need to train together.

    The arguments are those of `training_key`. Keras is not started.
    """
    return {
        **{name: str(value) for name, value in dotted(hyperparameters.model_dump())},
        "images": data.content,
        "labels": _hash(data.train.labels, data.val.labels),
        "balance plan": _hash(*map(np.asarray, vars(data.balance).values())),
        "rule for 16 bits": str(data.sixteen_bit),
        "start weights": sha256(weights) if weights else "none",
        **code_key(CODE),
        **machine_key(),
    }


def machine_key() -> dict[str, str]:
    """Return the part of the key that each machine has by itself. Keras is not started.

    They are the versions of the packages, the backend of Keras, and the environment variables.
    Raises UserError if the backend is not installed.
    """
    return {
        **package_versions("training"),
        BACKEND: backend(),
        **{name: os.environ.get(name, "not set") for name in (*SPREAD, *VARIABLES)},
    }


def code_key(names: Sequence[str]) -> dict[str, str]:
    """Return file → sha256 of code. names: files, and folders of which all files count."""
    return {str(file.relative_to(ROOT)): sha256(file) for file in _files(names)}


def _files(names: Sequence[str]) -> Iterator[Path]:
    for path in (ROOT / name for name in names):
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def package_versions(group: str) -> dict[str, str]:
    """Return the installed version of each package of a group, see infra/cut_packages.py.

    The version of a package that is not installed is `missing`.
    """
    names = expected_versions((PACKAGES / f"{group}.txt").read_text(encoding="utf-8"))
    return {f"package {name}": installed_version(name) or "missing" for name in names}


def _hash(*arrays: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest()
