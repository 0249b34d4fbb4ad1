"""A folder with a real, empty MLflow store, and versions of models that are just bytes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.registry.versions import register_version
from components.tracking.runs import start_run
from tests.components.origins import ORIGIN


@pytest.fixture
def workspace(folder_with_store: Path) -> Path:
    return folder_with_store


@pytest.fixture
def registered(workspace: Path) -> Callable[..., int]:
    """Register bytes as `register` does; aliases and records care for no real model."""

    def register(content: bytes, verdict: str = "promote", **more: str) -> int:
        file = Path("model.keras")
        file.write_bytes(content)
        with start_run("train", ORIGIN, {"stage": "train"}) as run:
            pass
        tags = {"verdict": verdict, "reasons": "said the test", "compared_with": "none", **more}
        return register_version("digits", file, run, np.zeros((1, 4, 4, 3), np.uint8), 2, tags)

    return register
