"""A record of a journal → the request to MLflow that its kind names."""

import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from components.tracking.connection import address, client, experiment_id, is_remote
from components.tracking.journal import Journal
from components.tracking.journal_files import Record, journal_folders, parse_records

log = logging.getLogger(__name__)

RUN_KEY = "run_key"
MODEL_ID = "model_id"
# A run with this tag was created for a model that was trained elsewhere.
ADOPTED = "adopted"
# MLflow's page shows the artifacts that this tag lists as tables.
TABLES = "mlflow.loggedArtifacts"


class WaitingError(Exception):
    """A record cannot be delivered before another journal is delivered."""


def run_with_tag(key: str, value: str, experiment: str | None = None) -> str | None:
    """Return the id of the newest run with this tag, or None.

    experiment: the name of the experiment; None means the present one.
    """
    found = _runs_with_tag(key, value, experiment)
    return found[0] if found else None


def waits_with_model(model_id: str) -> bool:
    """Return whether the run that trained this model still waits, so that MLflow cannot find it."""
    for path in journal_folders():
        with suppress(OSError):  # The journal is delivered now, or belongs to another user.
            records = parse_records((path / "records").read_bytes())
            first = records[0] if records else {}
            trained = any(record.get("tags", {}).get(MODEL_ID) == model_id for record in records)
            if trained and first.get("kind") == "run" and first.get("address") == address():
                return True
    return False


def _runs_with_tag(key: str, value: str, experiment: str | None) -> list[str]:
    found = client().search_runs(
        [experiment_id(experiment)],
        filter_string=f"tags.{key} = '{value}'",
        order_by=["attributes.start_time DESC"],
        max_results=10,
    )
    return [run.info.run_id for run in found]


def _create(journal: Journal, record: Record) -> None:
    experiment = record["experiment"]
    if journal.tried:
        journal.run_id = run_with_tag(RUN_KEY, journal.key, experiment) or ""
    if not journal.run_id:
        journal.tried = True
        journal.save_cursor()
        created = client().create_run(
            experiment_id(experiment),
            start_time=record["time_ms"],
            tags={**record["tags"], RUN_KEY: journal.key},
            run_name=record["name"],
        )
        journal.run_id = created.info.run_id
    journal.save_cursor()


def _find(journal: Journal, record: Record) -> None:
    journal.run_id = record["run_id"]


def _find_or_adopt(journal: Journal, record: Record) -> None:
    """Find the run of a model. If there is none, the model was trained elsewhere: create a run."""
    model_id, experiment = record["tags"][MODEL_ID], record["experiment"]
    if waits_with_model(model_id):
        raise WaitingError("the run of this model must be delivered first")
    own = run_with_tag(RUN_KEY, journal.key, experiment) if journal.tried else None
    known = run_with_tag(MODEL_ID, model_id, experiment)
    if known and not own:
        journal.run_id = known
        return
    _create(journal, record)
    _log_inputs(journal, record)
    client().set_terminated(journal.run_id, "FINISHED", record["time_ms"])


def _log_inputs(journal: Journal, record: Record) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(**record["dataset"])
    context = InputTag("mlflow.data.context", "training")
    client().log_inputs(journal.run_id, [DatasetInput(dataset, [context])])


def _log_params(journal: Journal, record: Record) -> None:
    from mlflow.entities import Param

    params = [Param(name, value) for name, value in record["params"].items()]
    client().log_batch(journal.run_id, params=params)


def _log_metrics(journal: Journal, record: Record) -> None:
    from mlflow.entities import Metric

    time_ms, step = record["time_ms"], record["step"]
    metrics = [Metric(name, value, time_ms, step) for name, value in record["metrics"].items()]
    client().log_batch(journal.run_id, metrics=metrics)


def _log_curve(journal: Journal, record: Record) -> None:
    """Log all points of a curve in one request, which takes a tenth of the time of many."""
    from mlflow.entities import Metric

    name, time_ms = record["metric"], record["time_ms"]
    points = [Metric(name, value, time_ms, epoch) for epoch, value in record["points"]]
    client().log_batch(journal.run_id, metrics=points)


def _set_tags(journal: Journal, record: Record) -> None:
    from mlflow.entities import RunTag

    tags = [RunTag(key, value) for key, value in record["tags"].items()]
    client().log_batch(journal.run_id, tags=tags)


def _log_file(journal: Journal, record: Record) -> None:
    if "copy" in record:
        file = journal.path / record["copy"]
        if not file.is_file():
            log.warning(f"MLflow does not get a file, because its copy was deleted: {file}")
            return
    else:
        name, size, time_ns = record["source"]
        file = Path(name)
        if not file.is_file() or (file.stat().st_size, file.stat().st_mtime_ns) != (size, time_ns):
            log.warning(f"MLflow does not get a file, because it was changed meanwhile: {file}")
            return
    client().log_artifact(journal.run_id, str(file), record["folder"] or None)


def _log_text(journal: Journal, record: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, record["name"])
        file.write_text(record["text"], encoding="utf-8")
        client().log_artifact(journal.run_id, str(file), record["folder"] or None)


def _log_table(journal: Journal, record: Record) -> None:
    """Log a table, and add it to the tag, as `mlflow.log_table` does."""
    _log_text(journal, record)
    tags = client().get_run(journal.run_id).data.tags
    known = []
    with suppress(ValueError):  # Somebody has edited the tag.
        known = json.loads(tags.get(TABLES, "[]"))
    table = {"path": str(PurePosixPath(record["folder"], record["name"])), "type": "table"}
    if table not in known:
        client().set_tag(journal.run_id, TABLES, json.dumps([*known, table]))


def _delete(journal: Journal, record: Record) -> None:
    """Delete another run, which this one replaces. A second request changes nothing."""
    from mlflow.exceptions import MlflowException

    try:
        client().delete_run(record["run_id"])
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # `mlflow gc` has removed it for good.
            raise


def _end(journal: Journal, record: Record) -> None:
    if "status" in record:
        time_ms = record.get("end_ms", record["time_ms"])
        client().set_terminated(journal.run_id, record["status"], time_ms)
    if is_remote() and journal.tried:
        for other in _runs_with_tag(RUN_KEY, journal.key, journal.records[0]["experiment"]):
            if other != journal.run_id:
                client().delete_run(other)


# The kinds of the first record say to which run a journal belongs.
BEGIN: Mapping[str, Callable[[Journal, Record], None]] = {
    "run": _create,
    "known": _find,
    "model": _find_or_adopt,
}
KINDS: Mapping[str, Callable[[Journal, Record], None]] = {
    **BEGIN,
    "inputs": _log_inputs,
    "params": _log_params,
    "metrics": _log_metrics,
    "curve": _log_curve,
    "tags": _set_tags,
    "file": _log_file,
    "text": _log_text,
    "table": _log_table,
    "delete": _delete,
    "end": _end,
}
