"""Params, metrics and files of a stage → an MLflow run with tags about code, data and user."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from components.tracking.connection import client, experiment_id

T = TypeVar("T")
# MLflow's limits. It cuts a longer param without an error.
LONGEST_PARAM = 6_000  # characters
LONGEST_TAG = 8_000  # characters
LONGEST_DIGEST = 36  # characters
BATCH = 100  # params or tags in one request
METRIC_BATCH = 1_000  # metrics in one request


@dataclass(frozen=True)
class Origin:
    """The code, the data and the user that a run comes from.

    tags: the lineage, such as git.commit and data_id. user: a person's name. data: the folder of
    images; it becomes the name of the run's dataset in MLflow. digest: a hash of this folder.
    """

    tags: Mapping[str, str]
    user: str
    data: str
    digest: str


@dataclass(frozen=True)
class Run:
    """An MLflow run. Values and files can be added even after the run has ended."""

    id: str

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log nested values under dotted names, such as `train.batch_size`.

        A value longer than LONGEST_PARAM is stored in the artifact `params/<name>.txt`. The param
        then names this artifact instead.
        """
        from mlflow.entities import Param

        logged = [Param(name, self._param_text(name, value)) for name, value in _dotted(params)]
        for batch in _batches(logged, BATCH):
            client().log_batch(self.id, params=batch)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log all values with the same time. step: the epoch; None for metrics without epochs."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        logged = [Metric(name, float(value), now_ms, step or 0) for name, value in metrics.items()]
        for batch in _batches(logged, METRIC_BATCH):
            client().log_batch(self.id, metrics=batch)

    def log_files(self, *paths: Path, folder: str = "") -> None:
        """Copy files and folders with their content to the run's artifacts, below `folder`."""
        for path in paths:
            client().log_artifact(self.id, str(path), folder or None)

    def read_text(self, path: str) -> str | None:
        """Return the text of an artifact of the run, or None if it cannot be read."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        client()  # sets the address that download_artifacts uses
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = download_artifacts(run_id=self.id, artifact_path=path, dst_path=folder)
                return Path(file).read_text(encoding="utf-8")
        except (MlflowException, OSError):
            return None

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; an existing tag gets the new value.

        Raises ValueError if a value is longer than LONGEST_TAG.
        """
        from mlflow.entities import RunTag

        for key, value in tags.items():
            if len(value) > LONGEST_TAG:
                raise ValueError(
                    f"tag {key} must have at most {LONGEST_TAG} characters. Received: {len(value)}"
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
    """Create a run, yield it, and end it. It has the tags of its origin and the images as dataset.

    name: of the run. tags: more tags. parent: the run that MLflow shows this run
    below. The final status is FINISHED, or FAILED after an exception, or KILLED after Ctrl-C or
    SystemExit. Raises UserError within 15 s if MLflow does not answer.
    """
    run = _create_run(name, origin, tags, parent)
    try:
        yield run
    except BaseException as error:
        status = "KILLED" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "FAILED"
        # An error of set_terminated would hide the first error, which is raised below.
        with suppress(Exception):
            client().set_terminated(run.id, status)
        raise
    client().set_terminated(run.id, "FINISHED")


def run_of_model(model_id: str) -> Run | None:
    """Return the newest run with the tag `model_id`, a sha256; None if there is no such run."""
    runs = client().search_runs(
        [experiment_id()],
        filter_string=f"tags.model_id = '{model_id}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return Run(runs[0].info.run_id) if runs else None


def adopt_model(model_id: str, origin: Origin) -> Run:
    """Create a run for a model that was trained elsewhere, for example after `dvc pull`.

    model_id: sha256 of the model file. Without this run, `run_of_model` would find none.
    """
    with start_run("adopted", origin, {"model_id": model_id, "adopted": "yes"}) as run:
        return run


def _create_run(name: str, origin: Origin, tags: Mapping[str, str], parent: Run | None) -> Run:
    mlflow_tags = {
        "mlflow.user": origin.user,
        "mlflow.source.name": f"fovea {name}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": origin.tags.get("git.commit", ""),
        **({"mlflow.parentRunId": parent.id} if parent else {}),
    }
    all_tags = {**mlflow_tags, **origin.tags, **tags}
    created = client().create_run(experiment_id(), tags=all_tags, run_name=name)
    run = Run(created.info.run_id)
    _log_dataset(run, origin)
    return run


def _log_dataset(run: Run, origin: Origin) -> None:
    """Log the folder of images as the run's dataset, with its hash as the digest.

    DVC's hash of a folder has 36 characters, `<32 hex digits>.dir`, which is also MLflow's limit.
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
