"""Params, metrics and files of a stage → an MLflow run.

A run has tags that name the commit of the code, the data and the user.
"""

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from components.errors import UserError, one_line
from components.tracking.connection import client, experiment_id, unusable, within_limit
from components.tracking.delivery import Sender, deliver, deliver_waiting
from components.tracking.journal import Journal
from components.tracking.record_kinds import ADOPTED, MODEL_ID, run_with_tag, waits_with_model
from components.tracking.this_process import ended_since, machine, started

log = logging.getLogger(__name__)

T = TypeVar("T")
# MLflow's limits. If a param is longer than its limit, MLflow cuts the param and raises no error.
LONGEST_PARAM = 6_000  # characters
LONGEST_TAG = 8_000  # characters
LONGEST_DIGEST = 36  # characters
NO_VALUE = "none ("  # A tag with an unknown value starts with this text; the reason follows.
# Tags that say which process writes a run, see this_process.py.
MACHINE, PROCESS = "machine", "process"
# The tags by which MLflow's page knows the name of a run, and its description in Markdown.
RUN_NAME, NOTE = "mlflow.runName", "mlflow.note.content"
BATCH = 100  # params or tags in one request
METRIC_BATCH = 1_000  # metrics in one request
PAGE = 1_000  # runs in one answer


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


def run_title(backbone: str, origin: Origin) -> str:
    """Return a name for the run of a training: backbone, data and day, which is the day of today.

    Example: `mobilenet_v2 on data 3f2a91c0, 2026-11-28`.
    """
    data = origin.tags.get("data_id", origin.digest)  # the reports name the data by the data_id
    return f"{backbone} on data {data[:8]}, {date.today().isoformat()}"


@dataclass(frozen=True, eq=False)
class Run:
    """An MLflow run. Params, metrics and files can be added even after the run has ended.

    What is added is written to the disk first, and then delivered to MLflow. If MLflow does not
    answer, it waits on the disk, see journal.py, and no error is raised.
    """

    id: str

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same run in MLflow."""
        return isinstance(other, Run) and self.id == other.id

    def __hash__(self) -> int:
        """Return a hash of the id."""
        return hash(self.id)

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
        texts = {name: str(value) for name, value in dotted(params)}
        long = {name: text for name, text in texts.items() if len(text) > LONGEST_PARAM}
        short = {
            name: f"{len(text)} characters, see artifact params/{name}.txt"
            for name, text in long.items()
        }
        with self._journal() as journal:
            for name, text in long.items():
                journal.add("text", text=text, name=f"{name}.txt", folder="params")
            for batch in _batches([*(texts | short).items()], BATCH):
                journal.add("params", params=dict(batch))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log all metrics with the same time.

        metrics: name → value. step: the number of the epoch; None if the metrics do not belong to
        an epoch.
        """
        values = [(name, float(value)) for name, value in metrics.items()]
        with self._journal() as journal:
            for batch in _batches(values, METRIC_BATCH):
                journal.add("metrics", metrics=dict(batch), step=step or 0)

    def log_files(self, *paths: Path, folder: str = "") -> None:
        """Copy files and complete folders to the artifacts of the run.

        paths: the paths of the files and folders. folder: the target folder inside the artifacts;
        empty for the top folder.
        """
        with self._journal() as journal:
            for path in paths:
                for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                    if not file.is_dir():
                        below = file.parent.relative_to(path.parent).as_posix()
                        target = str(PurePosixPath(folder, below))
                        journal.add_file(file, "" if target == "." else target)

    def log_table(self, path: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Store a table that MLflow's page of the run shows as a table.

        path: the path of the file inside the artifacts of the run; it ends with `.json`. The file
        and the tag are those of `mlflow.log_table`.
        """
        text = json.dumps({"columns": list(columns), "data": list(rows)}, ensure_ascii=False)
        place = PurePosixPath(path)
        with self._journal() as journal:
            journal.add("table", text=text, name=place.name, folder=str(place.parent))

    def route(self, artifact: str = "") -> str:
        """Return the part of the address of MLflow's page of the run, or of an artifact of it."""
        experiment = client().get_run(self.id).info.experiment_id
        page = f"#/experiments/{experiment}/runs/{self.id}"
        return f"{page}/artifacts/{artifact}" if artifact else page

    def has_artifact(self, path: str) -> bool:
        """Return True if MLflow has the artifact. path: inside the artifacts of the run."""
        from mlflow.exceptions import MlflowException

        try:
            files = client().list_artifacts(self.id, str(PurePosixPath(path).parent))
        except (MlflowException, OSError):
            return False
        return any(file.path == path for file in files)

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

    def read_params(self) -> dict[str, str]:
        """Return the params of the run as texts: dotted name, such as `train.seed` → value."""
        return dict(client().get_run(self.id).data.params)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run. If a tag exists already, it gets the new value.

        tags: key → value. Raises ValueError if a value is longer than LONGEST_TAG.
        """
        for key, value in tags.items():
            if len(value) > LONGEST_TAG:
                raise ValueError(
                    f"the value of the tag {key} must have at most {LONGEST_TAG} characters. "
                    f"Received: {len(value)} characters"
                )
        with self._journal() as journal:
            for batch in _batches([*tags.items()], BATCH):
                journal.add("tags", tags=dict(batch))

    @contextmanager
    def _journal(self) -> Iterator[Journal]:
        """Yield a journal of this run. Afterwards wait some seconds for its delivery."""
        with _sending() as sender:
            journal = sender.open("known", run_id=self.id)
            sender.start()
            try:
                yield journal
            finally:
                journal.add("end")


@dataclass(frozen=True, eq=False)
class RunBelow(Run):
    """A run below another one, and the tags that it has."""

    tags: Mapping[str, str]


class OpenRun(Run):
    """A run of this process that has not ended. A thread delivers what is added."""

    def __init__(self, journal: Journal, sender: Sender) -> None:
        # The dataclass is frozen, so its attributes cannot be set in the usual way.
        object.__setattr__(self, "records", journal)
        object.__setattr__(self, "sender", sender)

    records: Journal
    sender: Sender

    @property
    def id(self) -> str:
        """Return MLflow's id of the run; empty if MLflow has not created the run yet."""
        return self.records.run_id

    @contextmanager
    def _journal(self) -> Iterator[Journal]:
        if self.records.ended:
            with super()._journal() as journal:
                yield journal
        else:
            yield self.records
            self.sender.wake()


@contextmanager
def start_run(
    name: str, origin: Origin, tags: Mapping[str, str], parent: Run | None = None
) -> Iterator[Run]:
    """Create an MLflow run, yield it, and end it.

    name: the name of the run. origin: the code, the data and the user of the run. tags: more tags
    of the run, key → value. parent: the parent run, or None; MLflow shows the new run below its
    parent run.

    A run without a parent needs MLflow at its start: UserError is raised within 15 s if MLflow does
    not answer or cannot be used, or if the experiment is deleted. After the start nothing of MLflow
    stops or slows the work: a thread delivers what is logged. At the end of a run without a parent,
    this function waits some seconds for the delivery, and a log message says what is left.

    The final status of the run is KILLED after Ctrl-C or SystemExit, FAILED after any other
    exception, and FINISHED if there is no exception. A process that is killed cannot set a status,
    so its runs stay in the status RUNNING. The next run on the same machine that has no parent sets
    their status to KILLED.
    """
    if parent is None:
        experiment_id()
    with _sending(parent) as sender:
        journal = sender.open("run", name=name, tags=_tags(name, origin, tags, parent))
        journal.add("inputs", dataset=_dataset(origin))
        if parent is None:
            _create_run(journal)
            sender.start()
        with _until_its_end(journal, sender) as run:
            yield run


@contextmanager
def _until_its_end(journal: Journal, sender: Sender) -> Iterator[OpenRun]:
    """Yield the run of a journal, and end it with the status that `start_run` describes."""
    status = "FINISHED"
    try:
        yield OpenRun(journal, sender)
    except BaseException as error:
        status = "KILLED" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "FAILED"
        raise
    finally:
        journal.add("end", status=status)
        sender.wake()


@contextmanager
def continue_run(run_id: str) -> Iterator[Run]:
    """Yield an existing run, which counts as running until the end of the `with` statement.

    Raises UserError within 15 s if MLflow does not answer, or if the run was deleted.
    """

    def restart() -> None:
        _end_dead_runs()
        client().update_run(run_id, status="RUNNING")

    try:
        within_limit(restart)
    except Exception as error:
        raise error if isinstance(error, UserError) else unusable(error) from error
    with _sending() as sender:
        journal = sender.open("known", run_id=run_id)
        journal.run_id = run_id  # Runs below this one need it before the record is delivered.
        sender.start()
        with _until_its_end(journal, sender) as run:
            run.set_tags(_process_tags())
            yield run


def add_finished_run(
    name: str,
    origin: Origin,
    tags: Mapping[str, str],
    parent: Run,
    *,
    params: Mapping[str, object],
    curves: Mapping[str, Mapping[int, float]],
    metrics: Mapping[str, float],
    times_ms: tuple[int, int],
    status: str,
    replaces: Run | None = None,
) -> None:
    """Create a run below `parent` for work that is over, and end it.

    curves: metric → epoch → value. metrics: values without an epoch. times_ms: when the work began
    and ended, Unix time in milliseconds. status: FINISHED or FAILED. replaces: an earlier run of
    the same work, which is deleted when the new one is complete. The other arguments are those of
    `start_run`.
    """
    with _sending(parent) as sender:
        began, ended = times_ms
        all_tags = _tags(name, origin, tags, parent)
        journal = sender.open("run", name=name, tags=all_tags, time_ms=began)
        run = OpenRun(journal, sender)
        run.log_params(params)
        for metric, curve in curves.items():
            points = [(epoch, float(value)) for epoch, value in curve.items()]
            for batch in _batches(points, METRIC_BATCH):
                journal.add("curve", metric=metric, points=batch)
        run.log_metrics(metrics)
        if replaces:
            journal.add("delete", run_id=replaces.id)
        journal.add("end", status=status, end_ms=ended)
        sender.wake()


def runs_below(parent: Run, tag: str) -> dict[str, RunBelow]:
    """Return the value of a tag → the run, of all runs of MLflow below a run that have the tag.

    A run of which a killed process has written only a part has the status KILLED. It is deleted
    here and not returned, so that it can be written again.
    """
    deliver_waiting()
    below = f"tags.`mlflow.parentRunId` = '{parent.id}'"
    found: list[Any] = []
    token: str | None = ""
    while token is not None:
        page = client().search_runs([experiment_id()], below, max_results=PAGE, page_token=token)
        found += page
        token = page.token or None
    for run in found:
        if run.info.status == "KILLED":
            client().delete_run(run.info.run_id)
    return {
        run.data.tags[tag]: RunBelow(run.info.run_id, run.data.tags)
        for run in found
        if run.info.status != "KILLED" and tag in run.data.tags
    }


@contextmanager
def run_for_model(model_id: str, origin: Origin) -> Iterator[Run]:
    """Yield the run of a model, to add more to it.

    If MLflow does not know the model, a run is created as by `adopt_model`. If MLflow does not
    answer, what is added waits on the disk, and is delivered to the run of the model later.

    model_id: the sha256 of the model file. origin: the code, the data and the user, for a new run.
    """
    with _sending() as sender:
        tags = _tags(ADOPTED, origin, {MODEL_ID: model_id, ADOPTED: "yes"}, None)
        journal = sender.open("model", name=ADOPTED, tags=tags, dataset=_dataset(origin))
        sender.start()
        try:
            yield OpenRun(journal, sender)
        finally:
            journal.add("end")


def run_of_model(model_id: str) -> Run | None:
    """Return the newest run with the tag `model_id` of this model; None if there is no such run.

    If the run that trained the model waits on the disk, it is first delivered to MLflow.

    model_id: the sha256 of the model file. Raises UserError if MLflow does not answer, or if the
    run cannot be delivered.
    """
    experiment_id()
    if waits_with_model(model_id):
        reasons = deliver_waiting().reasons
        if waits_with_model(model_id):
            reason = reasons[0] if reasons else "another process is delivering it"
            raise UserError(
                "the run that trained this model is not in MLflow yet; run `fovea sync`, and then "
                f"the same command again. Received: {reason}"
            )
    run_id = run_with_tag(MODEL_ID, model_id)
    return Run(run_id) if run_id else None


def adopt_model(model_id: str, origin: Origin) -> Run:
    """Create a run for a model that has no run in this MLflow, and return the run.

    For example, the model was trained on another computer, and `dvc pull` copied the model file to
    this computer. From now on `run_of_model` returns the new run for this model.

    model_id: the sha256 of the model file. origin: the code, the data and the user of the run.
    """
    with start_run(ADOPTED, origin, {MODEL_ID: model_id, ADOPTED: "yes"}) as run:
        return run


@contextmanager
def _sending(parent: Run | None = None) -> Iterator[Sender]:
    """Yield the sender of the parent run; without a parent a new one, and close it at the end."""
    if isinstance(parent, OpenRun):
        yield parent.sender
        return
    sender = Sender()
    try:
        yield sender
    finally:
        sender.close()


def _create_run(journal: Journal) -> None:
    """Create the run of a journal in MLflow. Raises UserError if MLflow does not answer in time."""

    def create() -> None:
        _end_dead_runs()
        deliver(journal)

    try:
        within_limit(create)
    except Exception as error:
        journal.remove()
        raise error if isinstance(error, UserError) else unusable(error) from error


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


def _tags(name: str, origin: Origin, tags: Mapping[str, str], parent: Run | None) -> dict[str, str]:
    mlflow_tags = {
        "mlflow.user": origin.user,
        "mlflow.source.name": f"fovea {name}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": origin.tags.get("git.commit", ""),
        **({"mlflow.parentRunId": parent.id} if parent else {}),
    }
    return {**mlflow_tags, **_process_tags(), **origin.tags, **tags}


def _process_tags() -> dict[str, str]:
    """Return the tags that say that this process writes a run."""
    return {MACHINE: machine(), PROCESS: f"{os.getpid()} {started(os.getpid())}"}


def _dataset(origin: Origin) -> dict[str, str]:
    """Return the folder of images as MLflow's dataset.

    MLflow allows at most 36 characters for the digest (hash) of a dataset, so a longer digest is
    cut. DVC's hash of a folder, `<32 hex digits>.dir`, has exactly 36 characters.
    """
    ids = {key: origin.tags[key] for key in ("data_id", "split_id") if key in origin.tags}
    return {
        "name": origin.data,
        "digest": origin.digest[:LONGEST_DIGEST],
        "source_type": "local",
        "source": json.dumps({"uri": origin.data}),
        "profile": json.dumps(ids),
    }


def dotted(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the dotted name and the value of each leaf of a nested mapping.

    >>> dict(dotted({"train": {"seed": 1, "head": {"epochs": 60}}}))
    {'train.seed': 1, 'train.head.epochs': 60}
    """
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
