"""The curve of abstaining → a chart, and what answering only the surest images gains."""

from dataclasses import dataclass

from components.evaluation.abstention import Abstention
from components.evaluation.class_table import FEW
from components.evaluation.interval import Interval
from components.evaluation.page.axis import axis_of
from components.pages.xy_chart import Series, XYChart, share_scale, xy_chart

SHARES = (1.0, 0.9, 0.8, 0.7, 0.5)  # answered shares in the table


@dataclass(frozen=True)
class Answers:
    """What happens if only the surest images are answered.

    answered: their share. images: their number. accuracy: of the answers. confidence: the lowest
    confidence of an answered image.
    """

    answered: float
    images: int
    accuracy: Interval
    confidence: float


def abstention_chart(abstention: Abstention) -> XYChart:
    """Return the chart of accuracy by answered share, with its intervals.

    The interval of very few images is nearly as wide as the axis would be. So the axis ends where
    all others fit, and what is below is cut off.
    """
    rows = answers(abstention)
    enough = [row.accuracy for row in rows if row.images >= FEW]
    low = axis_of(enough or [row.accuracy for row in rows]).low

    def cut(value: float | None) -> float:
        return max(low, value or 0.0)

    return xy_chart(
        "Abstaining",
        share_scale("answered share of the images"),
        share_scale("accuracy", low),
        [
            Series(
                "accuracy",
                "c1",
                [(row.answered, cut(row.accuracy.value)) for row in rows],
                [(cut(row.accuracy.low), cut(row.accuracy.high)) for row in rows],
            )
        ],
    )


def answers(abstention: Abstention) -> list[Answers]:
    """Return all points of the curve, from the smallest answered share to 1."""
    return [
        Answers(
            row.answered,
            row.images,
            Interval(row.accuracy, row.accuracy_low, row.accuracy_high),
            row.confidence,
        )
        for row in abstention.curve.itertuples()
    ]


def chosen_answers(abstention: Abstention) -> list[Answers]:
    """Return the points for the table: the nearest ones that answer at least each of SHARES."""
    rows = answers(abstention)
    chosen = [next(row for row in rows if row.answered >= share - 1e-6) for share in SHARES]
    return list(dict.fromkeys(chosen))
