"""A Prefect server for the session, and tiny DVC repositories in which flows really run."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from uuid import UUID

import pytest

from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params
from pipelines import artifacts, balance
from pipelines.formats import write_tree
from pipelines.workspace.environment import quiet_vendors
from tests.cards import DIGITS
from tests.pipelines.stages import run_until


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one server, which costs seconds to start."""
    quiet_vendors()
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect"))
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())


@pytest.fixture
def deployment(prefect_api: str) -> UUID:
    """The deployment `search-worker`, as `prefect deploy` makes it, and no flow runs of it."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="gpu", type="process"), overwrite=True)
        flow = client.create_flow_from_name("search-worker")
        return client.create_deployment(flow, "search-worker", work_pool_name="gpu")


@pytest.fixture
def workspace_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A function that turns the `stages:` of a dvc.yaml into the repository we are in."""

    def make(stages: str) -> Path:
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc/config").write_text(
            "[core]\n    no_scm = True\n    analytics = false\n    check_update = false\n"
        )
        (tmp_path / "dvc.yaml").write_text(f"stages:\n{stages}")
        shutil.copy(DIGITS, tmp_path / "params.yaml")
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return make


@pytest.fixture(scope="session")
def prepared_digits(
    digits_folder: Path, params: Params, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """200 digits after the stages up to `prepare`; copy the folder before changing anything."""
    folder = tmp_path_factory.mktemp("prepared")
    with chdir(folder):
        shutil.copytree(digits_folder, artifacts.RAW)
        run_until("prepare", params)
    return folder


@pytest.fixture
def prepared(
    prepared_digits: Path,
    empty_store: Path,
    params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_backbone: None,
) -> Hyperparameters:
    """A workspace in which train can run, and hyperparameters small enough for a test."""
    shutil.copytree(prepared_digits, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    shutil.copy(DIGITS, tmp_path / "params.yaml")
    balance.run(params.balance)
    write_tree(artifacts.HYPERPARAMETERS, {"model.dropout": 0.4})
    written = Hyperparameters(model=params.model, train=params.train)
    return written.with_overrides(
        {"model.width": 0.35, "train.finetune.epochs": 2, "train.seed": 17}
    )
