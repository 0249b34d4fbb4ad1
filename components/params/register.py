"""Section `register`: the rules that decide whether a new version becomes the champion."""

from typing import Annotated, Literal

from pydantic import Field

from components.params.section import Confidence, Positive, Resamples, Section, Share

LONGEST_TEXT = 5_000  # characters
Written = Annotated[str, Field(max_length=LONGEST_TEXT)]


class Floors(Section):
    """Minimum scores on the split test. A new version with a lower score is rejected."""

    accuracy: Share
    balanced_accuracy: Share
    recall: Share = Field(description="minimum recall of every class")


class Serving(Section):
    """The most that a server of a new version may need. With more, the verdict is at most `hold`.

    null: no limit. The stage `register` serves the version on its own machine and measures three
    times; the best value counts.
    """

    max_latency_ms: Positive | None = Field(
        description="time of a request with one image over HTTP, in milliseconds"
    )
    max_memory_mb: Positive | None = Field(description="memory of the process, in megabytes")


class Card(Section):
    """What a person writes for the model card, in Markdown. An empty text is said to be missing."""

    intended_use: Written = Field(description="what the model is for, and who uses it")
    limits: Written = Field(description="where the model must not be used, and what it gets wrong")


class Register(Section):
    """The name of the registered model, and the rules for a new version to become the champion.

    The champion is the version in use.
    promote: `manual`: a person decides whether a new version becomes the champion. `auto`: the
    version becomes the champion if the verdict of the stage `register` is `promote`.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    promote: Literal["manual", "auto"]
    primary: Literal["accuracy", "balanced_accuracy", "macro_f1"] = Field(
        description="the metric in which a new version must be significantly better"
    )
    confidence: Confidence = Field(
        description="confidence level, such as 0.95, of the intervals of scores, and of the "
        "intervals of differences from the scores of the champion; the chance that an equally good "
        "version is promoted is at most (1 - confidence) / 2"
    )
    resamples: Resamples = Field(
        description="number of bootstrap resamples from which the intervals of macro scores are "
        "computed"
    )
    max_recall_drop: Share = Field(
        description="the recall of a class may be lower than the champion's recall of this class "
        "by at most this number"
    )
    floors: Floors
    serving: Serving = Field(description="limits for a server of a new version")
    card: Card = Field(description="what a person writes for the model card")
