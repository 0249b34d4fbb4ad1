"""What `search` checks and hands over before workers start on other machines."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.errors import UserError
from components.params.search import Choices
from pipelines.search_start import input_files, start_on_prefect
from pipelines.search_worker import PLAN
from tests.pipelines.versioned import commit, make_repository


@pytest.fixture
def ready(
    prepared: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, str], Path]]:
    """An environment in which a search can start workers, and a clean clone as the code."""
    store, code = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("code")
    make_repository(code)
    commit("code")
    os.chdir(tmp_path)
    folder = tmp_path / ".fovea/search/s"
    folder.mkdir(parents=True)
    (folder / PLAN).write_text("{}")
    yield (
        {
            "FOVEA_SEARCH_WORKERS": "2",
            "FOVEA_STUDY_STORAGE": "postgresql+psycopg://ann@db/fovea",
            "FOVEA_SHARED_STORE": str(store),
        },
        code,
    )


def start(environment, code, prepared, params, **changes):
    environment = {**environment, **changes}
    folder = Path(".fovea/search/s")
    return start_on_prefect(environment, prepared, params.search, folder, code)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("FOVEA_SEARCH_WORKERS", "", "FOVEA_SEARCH_WORKERS: no number.*Received: None"),
        ("FOVEA_SEARCH_WORKERS", "two", "FOVEA_SEARCH_WORKERS: no number.*Received: two"),
        ("FOVEA_STUDY_STORAGE", "", "FOVEA_STUDY_STORAGE: missing; write.*Received: None"),
        ("FOVEA_STUDY_STORAGE", "sqlite:///a.db", "FOVEA_STUDY_STORAGE: no PostgreSQL, which"),
        ("FOVEA_SHARED_STORE", "", "FOVEA_SHARED_STORE: missing"),
        ("FOVEA_SHARED_STORE", "/no/such/folder", "FOVEA_SHARED_STORE: the shared store is no fol"),
        ("FOVEA_SHARED_STORE", "/proc", "FOVEA_SHARED_STORE: the shared store cannot be read and"),
    ],
)
def test_a_wrong_variable_is_refused_before_anything_starts(
    variable, value, sentence, ready, deployment, prepared, params
):
    with pytest.raises(UserError, match=sentence):
        start(*ready, prepared, params, **{variable: value})


def test_code_with_changes_is_refused(ready, deployment, prepared, params):
    _, code = ready
    (code / "dvc.lock").write_text("written by dvc repro")
    start(*ready, prepared, params)
    (code / "new.py").write_text("")
    with pytest.raises(UserError, match=r"uncommitted changes; .*Received: new\.py$"):
        start(*ready, prepared, params)


def test_a_missing_deployment_or_server_is_refused(
    ready, deployment, prefect_api, prepared, params
):
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    away = temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"})
    with away, pytest.raises(UserError, match="Prefect's server does not answer"):
        start(*ready, prepared, params)
    unset = temporary_settings(restore_defaults={PREFECT_API_URL})
    with unset, pytest.raises(UserError, match="PREFECT_API_URL: missing"):
        start(*ready, prepared, params)
    with get_client(sync_client=True) as client:
        client.delete_deployment(deployment)
    with pytest.raises(
        UserError, match=r"no deployment search-worker/search-worker; create it.*dep"
    ):
        start(*ready, prepared, params)


def test_workers_get_all_files_that_they_read(ready, prepared, params):
    tried = Choices(choices=("none", "data/weights/a.keras"))
    search = params.search.model_copy(update={"space": {"model.weights": tried}})
    names = set(input_files(prepared, search, Path("folder")))
    assert names == {
        "data/prepare/train.images.npy",
        "data/prepare/train.parquet",
        "data/prepare/val.images.npy",
        "data/prepare/val.parquet",
        "data/prepare/statistics.json",
        "data/balance/plan.json",
        "data/validate/duplicates.parquet",
        "data/weights/a.keras",
        "search.json",
    }
