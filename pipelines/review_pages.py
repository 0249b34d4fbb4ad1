"""A verdict, files of earlier stages, MLflow → register report, model card, and what MLflow shows.

The stage `register` writes the pages. The MLflow run of a version gets them, too, also if the
version is judged again by a command.
"""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.errors import UserError
from components.evaluation.decision import decided_classes
from components.evaluation.slices import Slice, weak_slices
from components.model.model_file import read_started_from
from components.params.register import Register
from components.registry.contest import Contest, Outcome
from components.registry.descriptions import describe, model_facts
from components.registry.seen import Seen, seen_rows
from components.registry.versions import Version
from components.review.card import CardFacts, model_card
from components.review.description import verdict_facts, write_description
from components.review.facts import Judged, ModelFacts, worst_first
from components.review.pictures import NOTHING, changed_images
from components.review.report import register_report
from components.review.ways import model_route
from components.tracking import run_folders
from components.tracking.connection import store
from components.tracking.record_kinds import ADOPTED
from components.tracking.runs import NOTE, Run, run_of_model
from pipelines import artifacts
from pipelines.formats import read_table, write_text, write_tree
from pipelines.workspace.lineage import commit_date, lineage_of_model

log = logging.getLogger(__name__)

# The columns of the table that MLflow's page of the run shows for each class.
COLUMNS = (
    *("class", "test images", "recall", "recall low", "recall high", "recall of the champion"),
    *("difference", "difference low", "difference high"),
)
ALONE = 5  # columns about the model alone
DIGITS = 4  # decimals in this table


@dataclass(frozen=True, eq=False)
class Review:
    """A verdict, with all that its pages say.

    judged: the verdict and the two models. outcome: the predictions of the champion. contest: the
    test images. probabilities: float32 [N, C], the predictions of the model. seen: what it has
    seen.
    """

    judged: Judged
    outcome: Outcome
    contest: Contest
    probabilities: NDArray[np.float32]
    seen: Seen

    @cached_property
    def report(self) -> str:
        """Return the register report."""
        contest, outcome = self.contest, self.outcome
        changed = NOTHING
        if outcome.champion is not None:
            changed = changed_images(
                contest.rows["path"].tolist(),
                contest.rows["label_index"].to_numpy(np.int64),
                contest.prepared,
                self.probabilities,
                outcome.champion,
                contest.class_names,
                outcome.compared,
            )
        return register_report(self.judged, changed, len(self.seen.images), store())

    @property
    def tree(self) -> dict[str, Any]:
        """Return the content of verdict.json. `version` is None if the model has no version."""
        model, champion = self.judged.model, self.judged.champion
        return {
            "name": model.name,
            "model_id": model.model_id,
            "store": store(),
            "version": model.version,
            "champion": champion.version if champion else None,
            **self.judged.verdict.to_tree(),
        }


def review(
    model: ModelFacts,
    reigning: Version | None,
    outcome: Outcome,
    contest: Contest,
    probabilities: NDArray[np.float32],
    seen: Seen,
    slices: Sequence[Slice] | None,
) -> Review:
    """Return the review of a model. reigning: the champion; None if there is none."""
    champion = None if reigning is None else version_facts(reigning)
    labels = contest.rows["label_index"].to_numpy(np.int64)[outcome.compared]
    counts = np.bincount(labels, minlength=len(contest.class_names))
    images = dict(zip(contest.class_names, map(int, counts), strict=True))
    judged = Judged(model, champion, outcome.verdict, images, slices)
    return Review(judged, outcome, contest, probabilities, seen)


def workspace_slices() -> Sequence[Slice] | None:
    """Return the weak slices of the model of this workspace; None if no slice was tested."""
    return weak_slices(read_table(artifacts.SLICES))


def version_slices(version: Version) -> Sequence[Slice] | None:
    """Return the weak slices of a version; None if its MLflow run does not know them."""
    path = f"{run_folders.EVALUATION}/{artifacts.SLICES.name}"
    table = version.run.read_text(path) if version.run.exists() else None
    with suppress(ValueError):  # The table was changed in MLflow.
        return None if table is None else weak_slices(pd.read_csv(StringIO(table)))
    return None


def version_facts(version: Version) -> ModelFacts:
    """Return what the pages say of a version. Its params are empty if its run was deleted."""
    params = version.run.read_params() if version.run.exists() else {}
    return _with_date(model_facts(version, params))


def unregistered_facts(name: str, model_id: str) -> ModelFacts:
    """Return what the pages say of the model of this workspace if it has no version."""
    run = None
    with suppress(UserError):  # The run waits on the disk. The page is complete without it.
        run = run_of_model(model_id)
    trained = run.read_tags() if run else {ADOPTED: "yes"}
    tags = lineage_of_model(artifacts.MODEL, trained)
    tags["started_from"] = read_started_from(artifacts.MODEL)
    params = run.read_params() if run else {}
    return _with_date(ModelFacts(name, None, model_id, tags, params))


def write_pages(review: Review, register: Register, statistics: Mapping[str, Any]) -> None:
    """Write verdict.json, the register report and the model card.

    statistics: the content of statistics.json, which says how many images each class has.
    """
    contest, model = review.contest, review.judged.model
    rows = seen_rows(contest.data, review.seen)
    in_test = contest.data.images["split"].eq("test").to_numpy()
    facts = CardFacts(
        size=contest.prepare.size,
        counts=statistics["counts"],
        class_names=contest.class_names,
        labels=contest.rows["label_index"].to_numpy(np.int64),
        predicted=decided_classes(review.probabilities),
        seen=int((rows & in_test).sum()),
        confidence=register.confidence,
        slices=review.judged.slices,
        floors=register.floors,
        written=register.card,
    )
    write_text(artifacts.REGISTER_REPORT, review.report)
    write_text(artifacts.MODEL_CARD, model_card(model, facts))
    write_tree(artifacts.VERDICT, review.tree)  # the last one: a stage that failed has no verdict


def log_review(review: Review, version: Version) -> None:
    """Add the review to the MLflow run of the version, and describe the version and the run.

    If the run was deleted, a log message says so, and only the version is described.

    version: the version that was judged.
    """
    run, name = version.run, version.name
    if not run.exists():
        log.warning(
            f"the MLflow run of version {version.number} of {name} was deleted: the verdict is "
            "only in the tags of the version"
        )
        describe(name, {version.number: verdict_facts(review.judged, {})})
        return
    folder = f"{run_folders.REGISTER_REPORT}/{name}"
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary, artifacts.REGISTER_REPORT.name)
        tree = Path(temporary, artifacts.VERDICT.name)
        write_text(report, review.report)
        write_tree(tree, review.tree)
        run.log_files(report, tree, folder=folder)
    columns = COLUMNS if review.judged.compared else COLUMNS[:ALONE]
    rows = [row[: len(columns)] for row in _class_rows(review.judged)]
    run.log_table(f"{folder}/classes.json", columns, rows)
    facts = verdict_facts(review.judged, _links(run, name))
    page = model_route(name, version.number)
    status = f"Registered as [version {version.number} of {name}]({page})."
    note = write_description(run.read_tags().get(NOTE, ""), status, facts)
    registered = {
        "verdict": review.judged.verdict.decision,
        "registered": f"{name}/{version.number}",
    }
    run.set_tags({**registered, NOTE: note})
    describe(name, {version.number: facts})


def _links(run: Run, name: str) -> dict[str, str]:
    """Return title → address on MLflow's page of what a reviewer may read, if the run has it."""
    pages = {
        "Register report": f"{run_folders.REGISTER_REPORT}/{name}/{artifacts.REGISTER_REPORT.name}",
        "Test report": run_folders.TEST_REPORT_PAGE,
        "Data report": f"{run_folders.DATA_REPORT}/{artifacts.VALIDATION_PAGE.name}",
        "Model card": f"{run_folders.MODEL_CARD}/{name}/{artifacts.MODEL_CARD.name}",
    }
    found = {title: run.route(path) for title, path in pages.items() if run.has_artifact(path)}
    return {**found, "all files of the run": f"{run.route()}/artifacts"}


def _class_rows(judged: Judged) -> list[list[Any]]:
    """Return the rows of the table with COLUMNS, the class whose recall fell most first."""
    rows: list[list[Any]] = []
    for row in worst_first(judged.verdict.comparison):
        own, champion, change = row.challenger, row.champion, row.difference
        values = [own.value, own.low, own.high, champion.value if champion else None]
        values += [change.value, change.low, change.high] if change else [None] * 3
        shown = [None if value is None else round(value, DIGITS) for value in values]
        rows.append([row.class_name, judged.images.get(row.class_name or "", 0), *shown])
    return rows


def _with_date(facts: ModelFacts) -> ModelFacts:
    """Add the date of the commit if an older Fovea has not recorded it, and git knows it."""
    if facts.commit is None or "git.commit_date" in facts.tags:
        return facts
    date = commit_date(facts.commit)
    return replace(facts, tags={**facts.tags, "git.commit_date": date}) if date else facts
