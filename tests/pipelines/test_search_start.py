"""What names a search, and what it checks and hands over before workers start elsewhere."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.errors import UserError
from components.files import sha256
from components.params.hyperparameters import Hyperparameters
from components.params.search import Choices, Confirm, Range, Search
from pipelines import artifacts
from pipelines.formats import read_tree, write_tree
from pipelines.search_start import input_files, start_on_prefect, study_key
from pipelines.search_worker import PLAN, search_machine
from tests.pipelines.versioned import commit, make_repository

ROOT = Path(__file__).parents[2]
SPACE = {
    "model.dropout": Choices(choices=(0.0, 0.1)),
    "train.finetune.learning_rate": Range(low=0.001, high=0.1, log=True),
}
BUDGET = {
    "trials": 30,
    "minutes": 5.0,
    "finalists": 2,
    "keep": 0.25,
    "confirm": Confirm(trials=2, folds=3),
    "within": {"bytes": 9.0},
}
DECIDES = {
    "objectives": ("val_loss",),
    "sampler": "random",
    "startup_trials": 3,
    "first_rung": 1,
    "pruner": "median",
    "start": ({"model.dropout": 0.1, "train.finetune.learning_rate": 0.02},),
    "space": {"model.dropout": Choices(choices=(0.0, 0.2))},
}
FILE = "data/weights/a.keras"


@pytest.fixture
def key_of(prepared: Any, params: Any) -> Callable[..., dict[str, str]]:
    """A function that returns the key of a search, with some changes of params.yaml."""
    written = Hyperparameters(model=prepared.model, train=prepared.train)
    search = params.search.model_copy(update={"space": SPACE})

    def key(overrides: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
        return study_key(written.with_overrides(overrides or {}), search.model_copy(update=changes))

    return key


def differences(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def test_a_search_goes_on_with_another_budget_and_another_begins_with_other_trials(key_of):
    assert BUDGET.keys() | DECIDES.keys() == Search.model_fields.keys()
    before = key_of()
    for name, value in BUDGET.items():
        assert key_of(**{name: value}) == before, name
    for name, value in DECIDES.items():
        assert differences(before, key_of(**{name: value})) == {f"search.{name}"}
    assert key_of(space=dict(reversed(SPACE.items()))) == before
    assert differences(before, key_of({"train.weight_decay": 0.25})) == {"train.weight_decay"}


def test_other_data_begin_another_search(key_of):
    before = key_of()

    def changed(path, change, read, write):
        tree = read(path)
        write(path, change(tree))
        after = key_of()
        write(path, tree)
        assert key_of() == before
        return differences(before, after)

    def changed_rows(**columns):
        return changed(
            artifacts.rows("train"),
            lambda rows: rows.assign(**columns),
            pd.read_parquet,
            lambda path, rows: rows.to_parquet(path),
        )

    def changed_tree(path, **values):
        return changed(path, lambda tree: {**tree, **values}, read_tree, write_tree)

    labels = pd.read_parquet(artifacts.rows("train"))["label_index"]
    assert changed_rows(label_index=labels.to_numpy()[::-1]) == {"labels"}
    assert changed_rows(group="all of one patient") == {"sets of copies"}  # of the folds
    assert changed_tree(artifacts.STATISTICS, resize="crop") == {"images"}
    assert changed_tree(artifacts.PLAN, strategy="oversample") == {"balance plan"}


def test_other_weights_begin_another_search(key_of):
    Path(FILE).parent.mkdir(parents=True, exist_ok=True)
    space = {"model.weights": Choices(choices=("none", FILE))}
    keys = []
    for content in (b"1", b"2"):
        Path(FILE).write_bytes(content)
        keys.append((key_of({"model.weights": FILE}), key_of(space=space)))
    (start, tried), (other_start, other_tried) = keys
    assert differences(start, other_start) == {"start weights"}
    assert differences(tried, other_tried) == {f"weights {FILE}"}


def test_other_code_or_packages_begin_another_search(key_of):
    key = key_of()
    for name in ("pipelines/train.py", "components/search/sampling.py"):
        assert key[name] == sha256(ROOT / name)
    assert search_machine().items() <= key.items()
    assert key["package optuna"]
    assert key["KERAS_BACKEND"] == "tensorflow"


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
