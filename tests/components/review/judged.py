"""Verdicts on made-up models, for the pages that show them."""

from collections.abc import Mapping, Sequence

from components.evaluation.comparison import Comparison
from components.evaluation.gate import Verdict
from components.evaluation.interval import Interval
from components.evaluation.slices import Slice
from components.review.facts import Judged, ModelFacts

# What a name of a class may be: the rules of labels forbid line breaks, old tables may have them.
HOSTILE = (
    "<script>alert(1)</script>",
    "a|b|[x](javascript:alert(1))",
    "two\nlines\n\n# heading",
    "x" * 200,
    "\u202egnp.exe",
    "שלום",
    "![x](http://host/x.png) @ann",
)
TAGS = {
    "git.commit": "c" * 40,
    "git.commit_date": "2026-11-20",
    "git.dirty": "no",
    "data_id": "d" * 64,
    "split_id": "e" * 64,
    "split.seed": "1",
    "train.seed": "1",
    "started_from": "none",
    "python": "CPython 3.11.9",
    "packages": "keras 3.15.1, numpy 2.1.0",
}


def model(version: int | None, tags: Mapping[str, str] = TAGS, **params: str) -> ModelFacts:
    return ModelFacts("digits", version, f"{version or 0}" * 64, tags, params)


def weak(name: str, p_value: float = 1e-9) -> Slice:
    """A weak slice of 40 images with the accuracy 0.5."""
    accuracy = Interval(0.5, 0.35, 0.65)
    return Slice(name, f"{name} at most 0.21", 40, accuracy, 0.5, 0.5, p_value, weak=True)


def row(metric: str, name: str | None, value: float, champion: float | None) -> Comparison:
    """A row; the interval of each value reaches 0.05 to both sides."""

    def around(middle: float) -> Interval:
        return Interval(middle, middle - 0.05, middle + 0.05)

    theirs = None if champion is None else around(champion)
    change = None if champion is None else around(round(value - champion, 6))
    return Comparison(metric, name, around(value), theirs, change)


def judged(
    classes: Sequence[str] = ("glass", "paper"),
    champion: ModelFacts | None = None,
    challenger: ModelFacts | None = None,
    reasons: Sequence[str] = ("significantly better than the champion",),
    slices: Sequence[Slice] | None = None,
) -> Judged:
    """A verdict: class n has the recall 0.9 - n / 1000; the champion's is 0.8 for each class."""
    theirs = None if champion is None else 0.8
    rows = [
        *(row(metric, None, 0.9, theirs) for metric in ("accuracy", "balanced_accuracy")),
        *(
            row("recall", name, round(0.9 - number / 1000, 6), theirs)
            for number, name in enumerate(classes)
        ),
    ]
    verdict = Verdict("promote", tuple(reasons), tuple(rows), 60, 0.95)
    images = dict.fromkeys(classes, 30)
    return Judged(challenger or model(2), champion, verdict, images, slices)
