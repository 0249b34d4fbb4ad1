"""Params, metrics and files of a stage → an MLflow run with tags that say where it comes from."""

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
LONGEST_PARAM = 6_000  # characters; MLflow cuts what is longer, without a message
LONGEST_TAG = 8_000
LONGEST_DIGEST = 36
BATCH = 100  # params or tags in one request; MLflow's limit
METRIC_BATCH = 1_000


@dataclass(frozen=True)
class Origin:
    """Where a run comes from.

    tags: the lineage, such as git.commit and data_id. user: a person's name. data: the folder of
    images, used as the name of MLflow's dataset. digest: a hash of its content.
    """

    tags: Mapping[str, str]
    user: str
    data: str
    digest: str


@dataclass(frozen=True)
class Run:
    """An MLflow run. It can be written to even after it has ended."""

    id: str

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log nested values under dotted names.

        A value too long for MLflow becomes the artifact `params/<name>.txt`; the param names it.
        """
        from mlflow.entities import Param

        logged = [Param(name, self._param_text(name, value)) for name, value in _dotted(params)]
        for batch in _batches(logged, BATCH):
            client().log_batch(self.id, params=batch)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values with the same time, in one request; `step` is the epoch, if any."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        logged = [Metric(name, float(value), now_ms, step or 0) for name, value in metrics.items()]
        for batch in _batches(logged, METRIC_BATCH):
            client().log_batch(self.id, metrics=batch)

    def log_files(self, *paths: Path, folder: str = "") -> None:
        """Copy files and whole folders to the run's artifacts, below `folder`."""
        for path in paths:
            client().log_artifact(self.id, str(path), folder or None)

    def read_text(self, path: str) -> str | None:
        """Return an artifact of the run as text, or None where there is no such file."""
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
        """Set tags; a tag that exists gets the new value. Raises ValueError on a value too long."""
        from mlflow.entities import RunTag

        for key, value in tags.items():
            if len(value) > LONGEST_TAG:
                raise ValueError(f"tag {key} has {len(value)} characters, over {LONGEST_TAG}")
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
    """Start a run with the tags of its origin, and with the images as its dataset.

    The run ends as FINISHED, after an exception as FAILED, after Ctrl-C as KILLED.
    Raises UserError where MLflow does not answer, within 15 s.
    """
    run = _create_run(name, origin, tags, parent)
    try:
        yield run
    except BaseException as error:
        status = "KILLED" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "FAILED"
        with suppress(Exception):  # the first error says more than a second one from MLflow
            client().set_terminated(run.id, status)
        raise
    client().set_terminated(run.id, "FINISHED")


def run_of_model(model_id: str) -> Run | None:
    """Return the newest run of the model with this sha256, or None where there is none."""
    runs = client().search_runs(
        [experiment_id()],
        filter_string=f"tags.model_id = '{model_id}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return Run(runs[0].info.run_id) if runs else None


def adopt_model(model_id: str, origin: Origin) -> Run:
    """Return a new run for a model that is unknown to this MLflow, for example after `dvc pull`."""
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
    """Log the images under DVC's hash, whose 36 characters are as many as MLflow accepts."""
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
