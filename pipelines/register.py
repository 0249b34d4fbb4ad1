"""model, predictions, test images, champion → a registered model version, and verdict.json.

The champion is the version of the registered model that has the alias `champion`. The challenger is
the version that may replace the champion. The verdict is the advice to promote, hold or reject the
challenger.
"""

import logging

import numpy as np

from components.evaluation.gate import Verdict
from components.model.model_file import model_id, read_started_from
from components.params.ingest import Ingest
from components.params.prepare import Prepare
from components.params.register import Register
from components.registry.contest import Contest, judge_against
from components.registry.promotion import promote
from components.registry.seen import data_set, seen_in_training
from components.registry.seen_store import keep_seen, seen_before
from components.registry.snapshot import keep_snapshot
from components.registry.versions import champion, find_version, register_version
from components.tracking.connection import connect
from components.tracking.runs import adopt_model, run_of_model
from components.training_set.pixels import read_images
from pipelines import artifacts
from pipelines.formats import read_table, read_tree, write_tree
from pipelines.workspace.lineage import origin, who

log = logging.getLogger(__name__)

SHOWN = ("test_accuracy", "test_balanced_accuracy", "test_macro_f1")
# Maximum number of characters of the tag `reasons`. verdict.json has the complete reasons.
LONGEST_REASONS = 4_000


def run(ingest: Ingest, prepare: Prepare, register: Register) -> None:
    """Compare the model with the champion, and register the model as the challenger.

    If `register.promote` is `auto` and the verdict is `promote`, the new version becomes the
    champion, unless a reviewer has rejected or rolled back this version.
    Raises UserError if MLflow does not answer, or if a file of an earlier stage is missing or
    damaged.
    """
    connect()
    identity = model_id(artifacts.MODEL)
    statistics = read_tree(artifacts.STATISTICS)
    classes = statistics["class_names"]
    rows = read_table(artifacts.PREDICTIONS)
    # The test images are read here, because damaged images must stop the stage. If the images were
    # first read by `judge_against`, the error would count as an error of the champion.
    images = read_images(artifacts.images("test"), statistics["pixels"]["test"])
    probabilities = np.stack(rows["probabilities"].to_numpy())
    tables = (artifacts.MANIFEST, artifacts.SPLITS, artifacts.DUPLICATES)
    data = data_set(*map(read_table, tables))
    started_from = read_started_from(artifacts.MODEL)
    seen = seen_in_training(data) | seen_before(started_from)
    contest = Contest(rows, images, artifacts.RAW, classes, ingest, prepare, data)
    reigning = champion(register.name)
    verdict = judge_against(reigning, identity, probabilities, seen, contest, register, 0)
    compared = reigning.number if reigning else None

    came_from = origin()
    tracked = run_of_model(identity) or adopt_model(identity, came_from)
    number = register_version(
        register.name,
        artifacts.MODEL,
        tracked,
        np.array(images[:1]),
        len(classes),
        {
            **came_from.tags,
            "started_from": started_from,
            **_verdict_tags(verdict, compared),
        },
        SHOWN,
    )
    keep_seen(find_version(register.name, str(number)), seen)
    registered = {"name": register.name, "version": number, "champion": compared}
    write_tree(artifacts.VERDICT, {**registered, **verdict.to_tree()})
    tracked.log_files(artifacts.VERDICT, folder=f"register/{register.name}")
    tracked.set_tags({"verdict": verdict.decision, "registered": f"{register.name}/{number}"})
    log.info(f"version {number} of {register.name}: {verdict.decision}; {verdict.reasons[0]}")
    # Promotion is the last step. If the stage crashes before this step, the champion is unchanged,
    # and the next run of the stage compares the model with the same champion.
    if register.promote == "auto" and verdict.decision == "promote":
        _promote(number, verdict, register)
    keep_snapshot(register.name)  # for `fovea review` and `fovea summary`


def _promote(number: int, verdict: Verdict, register: Register) -> None:
    if find_version(register.name, str(number)).declined:
        log.info(f"not promoted: a reviewer has rejected or rolled back version {number}")
        return
    reason = "; ".join(verdict.reasons)[:1000]
    promote(register.name, str(number), reason, f"register.promote: auto, run by {who()}")
    log.info(f"promoted: version {number} is the champion")


def _verdict_tags(verdict: Verdict, compared: int | None) -> dict[str, str]:
    reasons = "; ".join(verdict.reasons)
    shown = reasons if len(reasons) <= LONGEST_REASONS else f"{reasons[:LONGEST_REASONS]} …"
    return {"verdict": verdict.decision, "reasons": shown, "compared_with": str(compared or "none")}
