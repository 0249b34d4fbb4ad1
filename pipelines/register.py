"""model, predictions, test images, champion → a registered version, verdict, report, model card.

The champion is the version of the registered model that has the alias `champion`. The challenger is
the version that may replace the champion. The verdict is the advice to promote, hold or reject the
challenger.
"""

import logging
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.evaluation.gate import Verdict
from components.model.model_file import model_id, read_started_from
from components.params.ingest import Ingest
from components.params.prepare import Prepare
from components.params.reader import read_params
from components.params.register import Register
from components.registry.account import compared_before, put_on_account
from components.registry.blessing import UNASKED, read_blessing
from components.registry.contest import (
    Contest,
    Outcome,
    champion_predictions,
    judge_against,
)
from components.registry.hand_moves import champion_warning, note_hand_move
from components.registry.judgement import judgement_tags, tested_id
from components.registry.objections import Judge
from components.registry.promotion import RefusedError, finish, promote
from components.registry.seen import Seen, data_set, seen_in_training
from components.registry.seen_store import keep_seen, seen_before, seen_by
from components.registry.snapshot import keep_snapshot
from components.registry.standing import read_standing
from components.registry.versions import (
    Version,
    champion,
    find_version,
    register_version,
    tag_version,
    version_of_model,
    versions,
)
from components.tracking import run_folders
from components.tracking.connection import (
    connect,
    dvc_experiment,
    while_mlflow_answers,
)
from components.tracking.runs import adopt_model, run_of_model
from components.training_set.pixels import read_images
from pipelines import artifacts
from pipelines.blessing import bless
from pipelines.formats import read_table, read_tree
from pipelines.review_pages import (
    log_review,
    review,
    unregistered_facts,
    version_facts,
    version_slices,
    workspace_slices,
    write_pages,
)
from pipelines.version_server import VersionServer, version_server
from pipelines.workspace.lineage import lineage_of_model, origin, who

log = logging.getLogger(__name__)

SHOWN = ("test_accuracy", "test_balanced_accuracy", "test_macro_f1")


def run(ingest: Ingest, prepare: Prepare, register: Register) -> None:
    """Compare the model with the champion, and register the model as the challenger.

    If a person has moved the alias `champion` in MLflow, the move is put on record first. The
    version with the alias is the champion. If an earlier decision was interrupted, it is finished.

    If this MLflow has a version of this model already, no new version is created, and the existing
    version becomes the challenger again.

    A new process then serves the version from what MLflow stores. If its answers for test images
    are not those of the stage `evaluate`, the verdict is at most `hold`; see blessing.py.

    If `register.promote` is `auto` and the verdict is `promote`, the new version becomes the
    champion, unless a reviewer has rejected or rolled back this model, or decides while this stage
    runs. Then a log message says why it is not promoted.

    In an experiment of DVC (`dvc exp run`), the model is only judged. No version is created, and no
    alias is moved. `fovea register` registers the model after `dvc exp apply`. But the comparison
    counts: later verdicts on the same test images ask for more.

    Raises UserError within 15 s if MLflow does not answer or stops to answer, or if a file of an
    earlier stage is missing or damaged. Then `dvc repro` runs the stage again: a version that was
    created is found by its content.
    """
    # DVC does not remove these files before the stage runs (`persist` in dvc.yaml). If the stage
    # fails, no verdict on an earlier model may stay.
    for file in (artifacts.VERDICT, artifacts.REGISTER_REPORT, artifacts.MODEL_CARD):
        file.unlink(missing_ok=True)

    def work() -> None:
        connect()
        # The server starts while this process works, because its packages take seconds to start.
        with nullcontext() if dvc_experiment() else version_server() as server:
            _register_and_judge(ingest, prepare, register, server)

    while_mlflow_answers(work)


def _register_and_judge(
    ingest: Ingest, prepare: Prepare, register: Register, server: VersionServer | None
) -> None:
    """Do what `run` says. server: a process that serves nothing yet; None in an experiment."""
    identity = model_id(artifacts.MODEL)
    # The test images are read here, because damaged images must stop the stage. If the images were
    # first read by `judge_against`, the error would count as an error of the champion.
    statistics = read_tree(artifacts.STATISTICS)
    contest = _contest(ingest, prepare)
    probabilities = np.stack(contest.rows["probabilities"].to_numpy())
    slices = workspace_slices()

    def judge(version: Version, before: Version | None) -> Verdict | None:
        return _judge_version(version, before, contest, register)

    if server is not None:
        finish(register.name, note_hand_move(register.name, judge))
    if warning := champion_warning(read_standing(register.name)):
        log.warning(warning)
    reigning = champion(register.name)
    started_from = read_started_from(artifacts.MODEL)
    seen = seen_in_training(contest.data) | seen_before(started_from)
    outcome = _judge(reigning, identity, probabilities, seen, contest, register)
    verdict = outcome.verdict
    if server is None:
        known = version_of_model(versions(register.name), identity)
        facts = version_facts(known) if known else unregistered_facts(register.name, identity)
        made = review(facts, reigning, outcome, contest, probabilities, seen, slices)
        write_pages(made, register, statistics)
        log.info(
            f"{verdict.decision}; {verdict.reasons[0]}; the experiment {dvc_experiment()} "
            "registers no version; to register its model: "
            f"dvc exp apply {dvc_experiment()} && fovea register"
        )
        return

    tracked = run_of_model(identity) or adopt_model(identity, origin())
    # If this process is killed before the version was served, it must not be promoted.
    judgement = judgement_tags(identity, reigning, UNASKED.applied(verdict), contest)
    if judgement:
        judgement |= UNASKED.tags()
    number = register_version(
        register.name,
        artifacts.MODEL,
        tracked,
        np.array(contest.prepared[:1]),
        len(contest.class_names),
        {
            **lineage_of_model(artifacts.MODEL, tracked.read_tags()),
            "started_from": started_from,
            **judgement,
        },
        SHOWN,
    )
    version = find_version(register.name, str(number))
    keep_seen(version, seen)
    if judgement:
        blessing = bless(server, version, contest, probabilities, register.serving)
        verdict = blessing.applied(verdict)
        outcome = replace(outcome, verdict=verdict)
        judgement = judgement_tags(identity, reigning, verdict, contest)
        tag_version(register.name, number, {**blessing.tags(), **judgement})
        version = find_version(register.name, str(number))
    about = version_facts(version)
    made = review(about, reigning, outcome, contest, probabilities, seen, slices)
    write_pages(made, register, statistics)
    if version.run.exists():
        version.run.log_files(artifacts.VALIDATION_PAGE, folder=run_folders.DATA_REPORT)
        card = f"{run_folders.MODEL_CARD}/{register.name}"
        version.run.log_files(artifacts.MODEL_CARD, folder=card)
    if judgement:
        log_review(made, version)  # after the files above, because it links them
    log.info(f"version {number} of {register.name}: {verdict.decision}; {verdict.reasons[0]}")
    # Promotion is the last step. If the stage crashes before this step, the champion is unchanged,
    # and the next run of the stage compares the model with the same champion.
    if register.promote == "auto" and verdict.decision == "promote":
        _promote(number, verdict, register, judge)
    keep_snapshot(register.name)  # for `fovea review` and `fovea summary`


def judge_again(version: Version, name: str, reigning: Version | None) -> Verdict | None:
    """Compare a version with another version on the test images of this workspace.

    The verdict is kept with the first version: in its tags, and as verdict.json in its MLflow run.

    version: the version that is judged. reigning: the version that counts as the champion; None if
    there is no champion. name: the name of the registered model.
    Returns None if the data are not at hand: params.yaml, the test images or the table of
    predictions is missing, damaged, or does not fit the others, or the version was trained on other
    classes. Raises UserError if MLflow does not
    answer, or if the model of the version cannot be loaded or cannot predict.
    """
    try:
        params = read_params(Path("params.yaml"))
        contest = _contest(params.ingest, params.prepare)
    except UserError as error:
        log.debug(f"version {version.number} cannot be judged here: {error}")
        return None
    connect()
    register = params.register_.model_copy(update={"name": name})
    return _judge_version(version, reigning, contest, register)


def _judge_version(
    version: Version, reigning: Version | None, contest: Contest, register: Register
) -> Verdict | None:
    """Compare a version with another version on the images of the contest; keep the verdict.

    Returns None if the version was trained on other classes than those of the contest.
    """
    own = champion_predictions(version, contest)
    if set(own.class_names) != set(contest.class_names):
        log.debug(f"version {version.number} cannot be judged here: it has other classes")
        return None
    columns = [own.class_names.index(name) for name in contest.class_names]
    probabilities = own.probabilities[:, columns].astype(np.float32)
    identity, seen = version.model_id, seen_by(version)
    outcome = _judge(reigning, identity, probabilities, seen, contest, register)
    # A new verdict cannot make good what a server of this version has done wrong.
    verdict = read_blessing(version).applied(outcome.verdict)
    outcome = replace(outcome, verdict=verdict)
    judgement = judgement_tags(identity, reigning, verdict, contest)
    if judgement:
        tag_version(version.name, version.number, judgement)
        about, slices = version_facts(version), version_slices(version)
        made = review(about, reigning, outcome, contest, probabilities, seen, slices)
        log_review(made, version)
    return verdict


def _contest(ingest: Ingest, prepare: Prepare) -> Contest:
    """Return the test images and their predictions, as the earlier stages wrote them.

    Raises UserError if a file is missing or damaged, or if the images do not have the size in
    `prepare`.
    """
    statistics = read_tree(artifacts.STATISTICS)
    rows = read_table(artifacts.PREDICTIONS)
    images = read_images(artifacts.images("test"), statistics["pixels"]["test"])
    if images.shape[:2] != (len(rows), prepare.size):
        raise UserError(
            f"{artifacts.images('test')} must have {len(rows)} images of {prepare.size} pixels; "
            f"run `dvc repro`. Received: {images.shape[0]} images of {images.shape[1]} pixels"
        )
    tables = (artifacts.MANIFEST, artifacts.SPLITS, artifacts.DUPLICATES)
    data = data_set(*map(read_table, tables))
    return Contest(rows, images, artifacts.RAW, statistics["class_names"], ingest, prepare, data)


def _judge(
    reigning: Version | None,
    identity: str,
    probabilities: NDArray[np.float32],
    seen: Seen,
    contest: Contest,
    register: Register,
) -> Outcome:
    tested = tested_id(contest.rows)
    earlier = compared_before(versions(register.name), identity, tested)
    outcome = judge_against(reigning, identity, probabilities, seen, contest, register, earlier)
    if reigning is not None and reigning.model_id != identity:
        put_on_account(tested, identity, reigning)
    return outcome


def _promote(number: int, verdict: Verdict, register: Register, judge: Judge) -> None:
    """Promote a version, unless a reviewer has decided against it, or decides at this moment."""
    reason, by = "; ".join(verdict.reasons)[:1000], f"register.promote: auto, run by {who()}"
    try:
        promote(register.name, str(number), reason, by, judge)
    except RefusedError as error:
        log.info(f"not promoted: {error}")
    else:
        log.info(f"promoted: version {number} is the champion")
