"""A verdict on a version → the tags that the version gets."""

import hashlib
import json

import pandas as pd

from components.evaluation.gate import Verdict
from components.registry.contest import Contest
from components.registry.versions import COMPARED_WITH, TEST_ID, Version

# Maximum number of characters of the tag `reasons`. verdict.json has the complete reasons.
LONGEST_REASONS = 4_000


def tested_id(rows: pd.DataFrame) -> str:
    """Return the sha256 of the test images and their labels, in whatever order they are.

    rows: the table of predictions, with the columns image_id and label.
    """
    pairs = sorted(zip(rows["image_id"], rows["label"], strict=True))
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def judgement_tags(
    identity: str, reigning: Version | None, verdict: Verdict, contest: Contest
) -> dict[str, str]:
    """Return the tags of a version about its verdict; empty if the version is the champion.

    The champion is not compared with itself, so it keeps the tags by which it was promoted. It is
    not served either: what was promoted is in use.
    """
    if reigning is not None and reigning.model_id == identity:
        return {}
    reasons = "; ".join(verdict.reasons)
    shown = reasons if len(reasons) <= LONGEST_REASONS else f"{reasons[:LONGEST_REASONS]} …"
    return {
        "verdict": verdict.decision,
        "reasons": shown,
        COMPARED_WITH: str(reigning.number) if reigning else "none",
        TEST_ID: tested_id(contest.rows),
    }
