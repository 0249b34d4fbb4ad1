"""A training that starts from a registered version, in a folder whose MLflow is empty."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from components.errors import UserError
from components.files import sha256
from components.params.reader import Params
from components.registry import stand_ins
from components.registry.versions import champion, find_version
from components.registry.weights import resolve_weights
from pipelines import artifacts
from pipelines.workspace.rebuild import Rebuild
from pipelines.workspace.rebuild_weights import StandIn, find_weights, put_weights


def store_in(folder: Path) -> str:
    """Return the absolute address of mlflow.db; MLflow opens a relative one once per process."""
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(scope="module")
def workspace(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace whose MLflow has two versions of digits; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("workspace"))
        patch.setenv("MLFLOW_TRACKING_URI", store_in(Path.cwd()))
        shutil.copy(empty_store, "mlflow.db")
        # A training would take seconds to import; the versions of a rebuild are as good.
        for number, content in ((1, b"one"), (2, b"two")):
            file = Path(f"{number}.keras").absolute()
            file.write_bytes(content)
            version = StandIn("digits", number, sha256(file), "", str(file))
            stand_ins.main(".", json.dumps([asdict(version)]))
        yield Path.cwd()


@pytest.fixture
def folder(
    workspace: Path, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Rebuild:
    """Go to the workspace; return an empty folder with an empty MLflow."""
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_in(workspace))
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    plan = {"model": "", "here": True, "search": False, "backend": "tensorflow"}
    return Rebuild(tmp_path, tmp_path, plan)


def register(folder: Rebuild, found: list[StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the versions in the MLflow of the folder, and stay in the folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_in(folder.project))
    stand_ins.main(str(folder.project), json.dumps([asdict(version) for version in found]))


def start_from(folder: Rebuild, weights: str) -> None:
    (folder.project / "params.yaml").write_text(json.dumps({"model": {"weights": weights}}))


def test_the_stages_find_the_version_with_its_number_and_its_file(
    folder: Rebuild, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = find_version("digits", "2").reference
    start_from(folder, reference)
    found = find_weights(folder, artifacts.HYPERPARAMETERS, "")
    for _ in range(2):  # the second time changes nothing
        register(folder, found, monkeypatch)
    assert Path.cwd() == folder.project
    weights = resolve_weights(params.model.model_copy(update={"weights": reference}))
    assert weights is not None
    assert weights.read_bytes() == b"two"
    with pytest.raises(UserError, match="has versions 1, 2"):
        find_version("digits", "3")


@pytest.mark.slow
def test_the_python_of_the_folder_registers_them_once_and_says_why_it_cannot(
    folder: Rebuild,
) -> None:
    start_from(folder, find_version("digits", "1").reference)
    found = find_weights(folder, artifacts.HYPERPARAMETERS, "")
    store = folder.project / "mlflow.db"
    intact = store.read_bytes()
    store.write_bytes(b"no database")
    with pytest.raises(UserError, match=r"cannot be copied into the folder.*not a database"):
        put_weights(folder, found)
    store.write_bytes(intact)
    put_weights(folder, found)
    kept = folder.project / f".fovea/weights/{found[0].model_id}.keras"
    assert kept.read_bytes() == b"one"
    kept.unlink()
    put_weights(folder, found)
    assert not kept.exists()


def test_the_hyperparameters_of_the_search_may_name_the_version(folder: Rebuild) -> None:
    start_from(folder, "none")
    overrides = folder.project / artifacts.HYPERPARAMETERS
    overrides.parent.mkdir(parents=True)
    overrides.write_text(f"model.weights: {find_version('digits', '1').reference}")
    found = find_weights(folder, artifacts.HYPERPARAMETERS, "")
    assert [version.number for version in found] == [1]


def test_an_alias_of_then_means_the_version_on_record(
    folder: Rebuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_from(folder, "models:/digits@champion")
    started_from = find_version("digits", "1").model_id
    found = find_weights(folder, artifacts.HYPERPARAMETERS, started_from)
    register(folder, found, monkeypatch)
    reigning = champion("digits")
    assert reigning is not None
    assert reigning.model_id == started_from


@pytest.mark.parametrize(
    "reference", [f"models:/digits/2#sha256={'0' * 64}", "models:/digits@champion"]
)
def test_another_mlflow_than_that_of_then_is_an_error(folder: Rebuild, reference: str) -> None:
    start_from(folder, reference)
    with pytest.raises(UserError, match=rf"set MLFLOW_TRACKING_URI.*Received: {reference}"):
        find_weights(folder, artifacts.HYPERPARAMETERS, "0" * 64)


def test_weights_without_a_version_need_no_mlflow(folder: Rebuild) -> None:
    start_from(folder, "imagenet")
    assert find_weights(folder, artifacts.HYPERPARAMETERS, "") == []
    put_weights(folder, [])
    assert "weights" not in folder.done
