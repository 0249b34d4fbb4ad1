"""The hash of the inputs of a search → the Prefect flow `search-worker`, one worker of the search.

The stage `search` starts runs of this flow, see pipelines/search_on_prefect.py. A flow run fetches
the files that a worker reads into a folder of its own, and runs worker processes in it until the
search has ended. params.yaml and data/ of its clone are not used.

What a machine needs is in its environment: FOVEA_STUDY_STORAGE, FOVEA_SHARED_STORE, and
MLFLOW_TRACKING_URI if the search starts from registered versions. Addresses with passwords never
go through Prefect's server.
"""

import fcntl
import json
import logging
import os
import shutil
import sys
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Crashed, Failed

from components.errors import UserError, disk_errors
from components.search.rungs import Rungs
from pipelines import artifacts
from pipelines.search_on_prefect import worker_name
from pipelines.workspace import processes
from pipelines.workspace.code_commit import ROOT, check_commit
from pipelines.workspace.environment import quiet_vendors
from pipelines.workspace.messages import LOGGERS
from pipelines.workspace.search_variables import read_storage, read_store
from pipelines.workspace.searches import PLAN
from pipelines.workspace.shared_store import get_files

log = logging.getLogger("pipelines.search_flow")

FOLDER = ROOT / artifacts.STATE / "search-worker"
KEPT = 3  # folders with the inputs of searches; the oldest is deleted first


@flow(persist_result=False)
def search_worker(inputs: str, commit: str) -> State[None]:
    """Run trials of a search until it has ended.

    inputs: the hash of the files that the worker reads, in the shared store. commit: of the code.
    Returns the Prefect state Completed; Failed with this machine's name and one sentence; or
    Crashed, if the worker process was killed.
    """
    quiet_vendors()
    for name in LOGGERS:  # A Prefect worker would show warnings only.
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        with disk_errors():
            check_commit(commit)
            storage = read_storage(os.environ)
            folder = fetch_inputs(read_store(os.environ), inputs)
            _work(storage, folder)
    except UserError as error:
        return Failed(message=f"on {os.uname().nodename}: {error}")
    except processes.CommandFailedError as error:
        end = Crashed if error.status < 0 else Failed
        return end(message=f"on {os.uname().nodename}: {error}")
    return Completed(message="the search has ended")


def fetch_inputs(store: str, inputs: str, root: Path = FOLDER) -> Path:
    """Return a folder with the inputs of a search, and delete all but the last KEPT folders.

    store: the address of the shared store. inputs: the hash of the files. root: where the folders
    are. Other workers on this machine wait meanwhile, and then use the same folder.
    Raises UserError if a file in the store is missing or damaged.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = get_files(store, inputs, root)
        os.utime(folder)
        others = [path for path in root.iterdir() if path.is_dir() and path != folder]
        others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for old in others[KEPT - 1 :]:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def _work(storage: str, folder: Path) -> None:
    """Run one worker process after the other until the search has ended.

    A process ends after some trials, because it keeps memory of each of them.
    """
    study = json.loads((folder / PLAN).read_text(encoding="utf-8"))["study"]
    name = worker_name(flow_run.id)
    command = [sys.executable, "-m", "pipelines.search_worker", ".", name, str(os.getpid())]
    environment = processes.stage_environment({"PYTHONPATH": str(ROOT)})
    log.info(f"{name} of study {study} works in {folder}")
    while not _has_ended(storage, study):
        processes.run(command, environment, folder=folder)


def _has_ended(storage: str, study: str) -> bool:
    rungs = Rungs(storage, study)
    try:
        return rungs.first.ended() is not None
    finally:
        rungs.close()
