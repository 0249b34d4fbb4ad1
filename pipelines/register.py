"""model, predictions, test images, the champion → a registered version and the verdict on it."""

import numpy as np

from components.data.prepared import read_images
from components.evaluation.gate import Verdict
from components.model.checkpoints import model_id, started_from
from components.params import Ingest, Prepare, Register
from components.progress import say
from components.tracking.connection import connect
from components.tracking.contest import Contest, judge_against
from components.tracking.lineage import lineage, who
from components.tracking.promotion import promote
from components.tracking.registry import champion, find_version, register_version
from components.tracking.runs import adopt_model, run_of_model
from pipelines import artifacts

SHOWN = ("test_accuracy", "test_balanced_accuracy", "test_macro_f1")
LONGEST_REASONS = 4_000  # characters in a tag; verdict.json has all of them


def run(seed: int, ingest: Ingest, prepare: Prepare, register: Register) -> None:
    """Judge the model against the champion, register it as the challenger, promote it if asked."""
    connect()
    identity = model_id(artifacts.MODEL)
    statistics = artifacts.read_tree(artifacts.STATISTICS)
    classes = statistics["class_names"]
    rows = artifacts.read_table(artifacts.PREDICTIONS)
    # Before the contest: damage here must stop the stage, not count as a champion that fails.
    images = read_images(artifacts.images("test"), statistics["pixels"]["test"])
    probabilities = np.stack(rows["probabilities"].to_numpy())
    contest = Contest(rows, images, artifacts.RAW, classes, ingest, prepare)
    reigning = champion(register.name)
    verdict = judge_against(reigning, identity, probabilities, contest, register, seed)
    compared = reigning.number if reigning else None

    tracked = run_of_model(identity) or adopt_model(identity)
    number = register_version(
        register.name,
        artifacts.MODEL,
        tracked,
        np.array(images[:1]),
        len(classes),
        {
            **lineage(),
            "started_from": started_from(artifacts.MODEL),
            **_verdict_tags(verdict, compared),
        },
        SHOWN,
    )
    registered = {"name": register.name, "version": number, "champion": compared}
    artifacts.write_tree(artifacts.VERDICT, {**registered, **verdict.to_tree()})
    tracked.log_files(artifacts.VERDICT, folder=f"register/{register.name}")
    tracked.set_tags({"verdict": verdict.decision, "registered": f"{register.name}/{number}"})
    say(f"{verdict.decision}: version {number} of {register.name}; {verdict.reasons[0]}")
    # Last, so that a crash before leaves the champion that the verdict speaks of.
    if register.promote == "auto" and verdict.decision == "promote":
        _promote(number, verdict, register)


def _promote(number: int, verdict: Verdict, register: Register) -> None:
    if find_version(register.name, str(number)).declined:
        say(f"not promoted: a reviewer has decided against version {number}")
        return
    reason = "; ".join(verdict.reasons)[:1000]
    promote(register.name, str(number), reason, by=f"register.promote: auto, run by {who()}")
    say(f"promoted: version {number} is the champion")


def _verdict_tags(verdict: Verdict, compared: int | None) -> dict[str, str]:
    reasons = "; ".join(verdict.reasons)
    shown = reasons if len(reasons) <= LONGEST_REASONS else f"{reasons[:LONGEST_REASONS]} …"
    return {"verdict": verdict.decision, "reasons": shown, "compared_with": str(compared or "none")}
