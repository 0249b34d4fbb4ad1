"""Params, metrics and files of a stage → an MLflow run.

A run has tags that name the commit of the code, the data and the user.
"""

import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from components.errors import one_line
from components.tracking.connection import client, experiment_id
from components.tracking.this_process import ended_since, machine, started

log = logging.getLogger(__name__)

T = TypeVar("T")
# MLflow's limits. If a param is longer than its limit, MLflow cuts the param and raises no error.
LONGEST_PARAM = 6_000  # characters
LONGEST_TAG = 8_000  # characters
LONGEST_DIGEST = 36  # characters
# A run with this tag was created for a model that was trained elsewhere.
ADOPTED = "adopted"
NO_VALUE = "none ("  # A tag with an unknown value starts with this text; the reason follows.
# Tags that say which process writes a run, see this_process.py.
MACHINE, PROCESS = "machine", "process"
BATCH = 100  # params or tags in one request
METRIC_BATCH = 1_000  # metrics in one request


@dataclass(frozen=True)
class Origin:
    """The code and the data that a run uses, and the user who started the run.

    tags: tags about the code and the data, such as git.commit and data_id. user: the name of the
    user. data: the path of the folder of images; MLflow shows the path as the name of the run's
    dataset. digest: a hash of the images in this folder; `untracked` if no hash is known.
    """

    tags: Mapping[str, str]
    user: str
    data: str
    digest: str


@dataclass(frozen=True)
class Run:
    """An MLflow run. Params, metrics and files can be added even after the run has ended."""

    id: str

    def exists(self) -> bool:
        """Return False if the run was deleted, or if a version was registered without a run."""
        from mlflow.exceptions import MlflowException

        if not self.id:
            return False
        try:
            return bool(client().get_run(self.id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log params. A param in a nested mapping gets a dotted name, such as `train.batch_size`.

        If the text of a value is longer than LONGEST_PARAM, the text is stored in the artifact
        `params/<name>.txt` of the run, and the param is a short text that names this artifact.
        """
        from mlflow.entities import Param

        logged = [Param(name, self._param_text(name, value)) for name, value in _dotted(params)]
        for batch in _batches(logged, BATCH):
            client().log_batch(self.id, params=batch)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log all metrics with the same time.

        metrics: name → value. step: the number of the epoch; None if the metrics do not belong to
        an epoch.
        """
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        logged = [Metric(name, float(value), now_ms, step or 0) for name, value in metrics.items()]
        for batch in _batches(logged, METRIC_BATCH):
            client().log_batch(self.id, metrics=batch)

    def log_files(self, *paths: Path, folder: str = "") -> None:
        """Copy files and complete folders to the artifacts of the run.

        paths: the paths of the files and folders. folder: the target folder inside the artifacts;
        empty for the top folder.
        """
        for path in paths:
            client().log_artifact(self.id, str(path), folder or None)

    def read_text(self, path: str) -> str | None:
        """Return the text of an artifact of the run, or None if the artifact cannot be read.

        path: the path of the artifact inside the artifacts of the run.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        client()  # This call sets the address that download_artifacts uses.
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = download_artifacts(run_id=self.id, artifact_path=path, dst_path=folder)
                return Path(file).read_text(encoding="utf-8")
        except (MlflowException, OSError):
            return None

    def read_tags(self) -> dict[str, str]:
        """Return the tags of the run, key → value."""
        return dict(client().get_run(self.id).data.tags)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run. If a tag exists already, it gets the new value.

        tags: key → value. Raises ValueError if a value is longer than LONGEST_TAG.
        """
        from mlflow.entities import RunTag

        for key, value in tags.items():
            if len(value) > LONGEST_TAG:
                raise ValueError(
                    f"the value of the tag {key} must have at most {LONGEST_TAG} characters. "
                    f"Received: {len(value)} characters"
                )
        for batch in _batches([RunTag(key, value) for key, value in tags.items()], BATCH):
            client().log_batch(self.id, tags=batch)

    def _param_text(self, name: str, value: object) -> str:
        text = str(value)
        if len(text) <= LONGEST_PARAM:
            return text
        client().log_text(self.id, text, f"params/{name}.txt")
        return f"{len(text)} characters, see artifact params/{name}.txt"


@contextmanager
def start_run(
    name: str, origin: Origin, tags: Mapping[str, str], parent: Run | None = None
) -> Iterator[Run]:
    """Create an MLflow run, yield it, and end it.

    name: the name of the run. origin: the code, the data and the user of the run. tags: more tags
    of the run, key → value. parent: the parent run, or None; MLflow shows the new run below its
    parent run.

    The final status of the run is KILLED after Ctrl-C or SystemExit, FAILED after any other
    exception, and FINISHED if there is no exception. A process that is killed cannot set a status,
    so its runs stay in the status RUNNING. The next run on the same machine that has no parent sets
    their status to KILLED. Raises UserError within 15 s if MLflow does not answer or cannot be
    used, or if the experiment is deleted.
    """
    if parent is None:
        _end_dead_runs()
    run = _create_run(name, origin, tags, parent)
    try:
        yield run
    except BaseException as error:
        status = "KILLED" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "FAILED"
        # If set_terminated also fails, its error is ignored, because the first error is more
        # important. The first error is raised again below.
        with suppress(Exception):
            client().set_terminated(run.id, status)
        raise
    client().set_terminated(run.id, "FINISHED")


def run_of_model(model_id: str) -> Run | None:
    """Return the newest run with the tag `model_id` of this model; None if there is no such run.

    model_id: the sha256 of the model file.
    """
    runs = client().search_runs(
        [experiment_id()],
        filter_string=f"tags.model_id = '{model_id}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return Run(runs[0].info.run_id) if runs else None


def adopt_model(model_id: str, origin: Origin) -> Run:
    """Create a run for a model that has no run in this MLflow, and return the run.

    For example, the model was trained on another computer, and `dvc pull` copied the model file to
    this computer. From now on `run_of_model` returns the new run for this model.

    model_id: the sha256 of the model file. origin: the code, the data and the user of the run.
    """
    with start_run("adopted", origin, {"model_id": model_id, ADOPTED: "yes"}) as run:
        return run


def _end_dead_runs() -> None:
    """Set the status of runs to KILLED if their process was killed.

    These are runs in the status RUNNING whose tags name a process of this machine that has ended.
    A run of another machine, or of a Fovea without these tags, is not changed.
    """
    from mlflow.exceptions import MlflowException

    mine = f"attributes.status = 'RUNNING' AND tags.{MACHINE} = '{machine()}'"
    try:
        for run in client().search_runs([experiment_id()], filter_string=mine):
            if ended_since(run.data.tags.get(PROCESS, "")):
                client().set_terminated(run.info.run_id, "KILLED")
                log.info(f"run {run.info.run_name} in MLflow was killed; its status says so now")
    except MlflowException as error:  # For example, only the user who created a run may end it.
        log.warning(f"runs of killed stages stay in MLflow's status RUNNING: {one_line(error)}")


def _create_run(name: str, origin: Origin, tags: Mapping[str, str], parent: Run | None) -> Run:
    mlflow_tags = {
        "mlflow.user": origin.user,
        "mlflow.source.name": f"fovea {name}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": origin.tags.get("git.commit", ""),
        **({"mlflow.parentRunId": parent.id} if parent else {}),
    }
    process = {MACHINE: machine(), PROCESS: f"{os.getpid()} {started(os.getpid())}"}
    all_tags = {**mlflow_tags, **process, **origin.tags, **tags}
    created = client().create_run(experiment_id(), tags=all_tags, run_name=name)
    run = Run(created.info.run_id)
    _log_dataset(run, origin)
    return run


def _log_dataset(run: Run, origin: Origin) -> None:
    """Log the folder of images as the run's dataset.

    MLflow allows at most 36 characters for the digest (hash) of a dataset, so a longer digest is
    cut. DVC's hash of a folder, `<32 hex digits>.dir`, has exactly 36 characters.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    ids = {key: origin.tags[key] for key in ("data_id", "split_id") if key in origin.tags}
    dataset = Dataset(
        name=origin.data,
        digest=origin.digest[:LONGEST_DIGEST],
        source_type="local",
        source=json.dumps({"uri": origin.data}),
        profile=json.dumps(ids),
    )
    context = InputTag("mlflow.data.context", "training")
    client().log_inputs(run.id, [DatasetInput(dataset, [context])])


def _dotted(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
