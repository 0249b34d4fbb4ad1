"""A folder with a real, empty MLflow store, and versions of models that are just bytes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from components.params.reader import Params, read_params
from components.registry.versions import register_version
from components.tracking.runs import start_run
from tests.cards import DIGITS
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


@pytest.fixture
def read_search(tmp_path: Path) -> Callable[..., Params]:
    """Return a function that reads the card of the demo with a space in YAML and other values."""

    def read(space: str, start: str = "[]", **changes: object) -> Params:
        tree = yaml.safe_load(DIGITS.read_text())
        tree["search"] |= {"space": yaml.safe_load(space), "start": yaml.safe_load(start)}
        for key, value in changes.items():
            *path, name = key.split("__")
            section = tree
            for part in path:
                section = section[part]
            section[name] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
        return read_params(tmp_path / "params.yaml")

    return read
