"""The environment and the inputs of a search → its key and its workers, before any of them works.

Every mistake in the environment is found here, before the first trial. What a worker reads is put
into the shared store: while `dvc repro` runs, the outs of its stages are in no commit.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.model import WEIGHTS_FOLDER
from components.params.search import Choices, Search
from components.registry.weights import resolve_weights
from components.search.executor import LocalWorkers, default_count, visible_gpus
from components.tracking.connection import without_password
from pipelines import artifacts
from pipelines.search_on_prefect import PrefectWorkers
from pipelines.search_worker import search_machine, sets_of_copies
from pipelines.training_data import read_training_data
from pipelines.workspace.addresses import check_server
from pipelines.workspace.code_commit import ROOT, clean_commit
from pipelines.workspace.search_variables import (
    read_executor,
    read_storage,
    read_store,
    read_worker_count,
)
from pipelines.workspace.searches import PLAN
from pipelines.workspace.shared_store import put_files
from pipelines.workspace.training_key import code_key, shared_key

DEPLOYMENT = "search-worker/search-worker"
DEPLOY = "prefect --no-prompt deploy --all --prefect-file infra/search-worker.yaml"
# The code that decides which values a trial has, and what is measured of it, beside the code of a
# training; a test compares them. Other code of a search shows it, or lets processes work on it.
CODE = (
    "components/params/search.py",
    "components/params/search_checks.py",
    "components/params/search_rungs.py",
    "components/search/costs.py",
    "components/search/folds.py",
    "components/search/grid.py",
    "components/search/layers.py",
    "components/search/memory_study.py",
    "components/search/planning.py",
    "components/search/points.py",
    "components/search/pruning.py",
    "components/search/sampling.py",
    "components/search/space.py",
    "components/search/tasks.py",
    "components/training_set/balance.py",
    "components/validation/folds.py",
    "pipelines/search_worker.py",
)


def study_key(written: Hyperparameters, search: Search) -> dict[str, str]:
    """Return name → value of everything that decides the trials.

    This is what decides the result of a training, the search space, the sampler, and their code.
    The number of trials is left out, so that a user can add trials to a search.
    """
    data = read_training_data()
    key = shared_key(written, data, resolve_weights(written.model))
    key |= search_machine() | code_key(CODE)
    # They decide the folds, and may change without another image in train or val.
    key["sets of copies"] = hashlib.sha256(json.dumps(sets_of_copies()).encode()).hexdigest()
    budget = {"trials", "minutes", "finalists", "keep", "confirm", "within"}
    rules = search.model_dump(mode="json", exclude=budget)
    key |= {f"search.{name}": json.dumps(value, sort_keys=True) for name, value in rules.items()}
    values = search.space.get("model.weights")
    for weights in values.choices if isinstance(values, Choices) else ():
        file = resolve_weights(written.model.model_copy(update={"weights": weights}))
        key[f"weights {weights}"] = hashlib.sha256(file.read_bytes()).hexdigest() if file else ""
    return key


def choose_workers(
    environment: Mapping[str, str], written: Hyperparameters, search: Search, folder: Path
) -> LocalWorkers | PrefectWorkers:
    """Return the workers that FOVEA_SEARCH_EXECUTOR and FOVEA_SEARCH_WORKERS ask for.

    folder: of the search, with the file search.json. None of the workers is started yet.
    Raises UserError if they could not work.
    """
    if read_executor(environment) == "prefect":
        return start_on_prefect(environment, written, search, folder)
    gpus = visible_gpus(environment)
    count = read_worker_count(environment, default_count(len(gpus)))

    def command(worker: str) -> list[str]:
        program = [sys.executable, "-m", "pipelines.search_worker"]
        return [*program, str(folder), worker, str(os.getpid())]

    return LocalWorkers(count, command, gpus, folder / "logs")


def start_on_prefect(
    environment: Mapping[str, str],
    written: Hyperparameters,
    search: Search,
    folder: Path,
    root: Path = ROOT,
) -> PrefectWorkers:
    """Check everything that workers on other machines need, and give them their files.

    folder: of the search, with the file search.json. Its name is the name of the study. root: of
    the code.
    Raises UserError if an environment variable is missing or wrong, if the code is not that of a
    commit, if Prefect's server does not answer or has no such deployment, or if the shared store
    is missing or cannot be written.
    """
    read_storage(environment)
    count, store = read_worker_count(environment), read_store(environment)
    commit = clean_commit(root)
    api = _server()
    deployment, pool = _deployment(api)
    inputs = put_files(store, input_files(written, search, folder))
    return PrefectWorkers(
        count, api, deployment, pool, folder.name, {"inputs": inputs, "commit": commit}
    )


def input_files(written: Hyperparameters, search: Search, folder: Path) -> dict[str, Path]:
    """Return name → file of everything that a worker reads, except its environment."""
    tried = search.space.get("model.weights")
    weights = [written.model.weights, *(tried.choices if isinstance(tried, Choices) else ())]
    files = [
        *(path(split) for split in ("train", "val") for path in (artifacts.images, artifacts.rows)),
        artifacts.STATISTICS,
        artifacts.PLAN,
        artifacts.DUPLICATES,
        *(Path(name) for name in map(str, weights) if name.startswith(f"{WEIGHTS_FOLDER}/")),
    ]
    return {**{str(path): path for path in files}, PLAN: folder / PLAN}


def _server() -> str:
    """Return the address of Prefect's server. Raises UserError without one that answers."""
    from prefect.settings import PREFECT_API_URL

    api = PREFECT_API_URL.value() or ""
    if not api:
        raise UserError(
            "PREFECT_API_URL: missing; start `prefect server start`, and write its address, such "
            "as http://127.0.0.1:4200/api. Received: None"
        )
    check_server("PREFECT_API_URL", api)
    return api


def _deployment(api: str) -> tuple[UUID, str]:
    """Return the id of the deployment, and the name of its work pool."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    try:
        with get_client(sync_client=True) as client:
            found: Any = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        raise UserError(
            f"Prefect has no deployment {DEPLOYMENT}; create it in the folder of the project: "
            f"prefect work-pool create gpu --type process; {DEPLOY}. "
            f"Received: {without_password(api)}"
        ) from None
    return found.id, found.work_pool_name
