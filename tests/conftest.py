"""What every test may ask for: the demo's params, and the datasets beside it."""

import os
import shutil
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from components.params.reader import Params, read_params
from pipelines.workspace.environment import quiet_vendors
from pipelines.workspace.messages import show_messages
from tests.cards import DIGITS

ROOT = Path(__file__).parent.parent

quiet_vendors()
show_messages()
# Below a background shell Ctrl-C is ignored, and would be by every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


# First, because pytest-xdist reads the groups in a hook of the same name.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Share the tests out to two workers by file, or by the group that a test names. The files with
    the longest tests start first, so that at the end no worker runs long alone. (pytest-xdist would
    start with the file that has the most tests; --no-loadscope-reorder forbids it.)
    """
    longest_first = ("tests/end_to_end", "tests/pipelines", "tests/components")

    def place(item: pytest.Item) -> int:
        folder = "/".join(item.path.relative_to(ROOT).parts[:2])
        return longest_first.index(folder) if folder in longest_first else len(longest_first)

    items.sort(key=place)
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))


@pytest.fixture(autouse=True)
def _messages() -> None:
    """Print what is logged without the word of a stage, which another test may have set."""
    show_messages()


@pytest.fixture(scope="session")
def params() -> Params:
    """The demo's card without its search, whatever the repository's params.yaml says by now."""
    params = read_params(DIGITS)
    search = params.search.model_copy(update={"trials": 0})
    return params.model_copy(update={"search": search})


@pytest.fixture(scope="module")
def tiny_backbone() -> Iterator[None]:
    """Build a network of two convolutions for `compact`, whose thirteen take seconds to compile."""
    from components.model import backbones

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "compact", _two_convolutions)
        yield


def _two_convolutions(pixels: Any, width: float) -> Any:
    from keras import layers

    hidden = pixels
    for name, filters in (("block1", 24), ("block2", 96)):
        filters = round(filters * width)
        hidden = layers.Conv2D(filters, 3, 2, use_bias=False, name=f"{name}_conv")(hidden)
        hidden = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(hidden)
        hidden = layers.ReLU(name=f"{name}_relu")(hidden)
    return hidden


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real datasets and weights beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs real datasets in ../shared, which is not there")
    return folder


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data/raw of 200 real digits in ten class folders; copy it before changing anything."""
    from pipelines.commands.sample import digits

    folder = tmp_path_factory.mktemp("digits") / "raw"
    for name, data in islice(digits(), 200):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of an MLflow store; making them takes over a second."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    path = tmp_path_factory.mktemp("store") / "empty.db"
    engine = create_sqlalchemy_engine(f"sqlite:///{path}")
    _initialize_tables(engine)
    engine.dispose()
    return path


@pytest.fixture
def folder_with_store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as current directory, with a store, and without MLflow's environment."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        if "TELEMETRY" not in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, "mlflow.db")
    return tmp_path
