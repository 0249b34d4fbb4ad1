"""Points of ROC and precision–recall curves → charts of few classes, or of the mean and the worst.

Up to MOST_LINES classes have a line each. More lines cannot be told apart, so the charts then have
the mean of all classes and the WORST classes with the lowest ROC AUC.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.evaluation.interval import Floats
from components.evaluation.metrics import ClassMetrics
from components.pages.xy_chart import Series, XYChart, share_scale, xy_chart

MOST_LINES = 6  # as many as there are colours
WORST = 5
GRID = np.linspace(0, 1, 101)  # the points of a mean


@dataclass(frozen=True)
class CurveCharts:
    """The charts of both curves, which have the same lines.

    charts: ROC, and precision–recall. lines: (style, name, ROC AUC) of each line. classes: the
    number of classes that have curves. mean: whether the charts have the mean of all classes.
    """

    charts: tuple[XYChart, XYChart]
    lines: tuple[tuple[str, str, float | None], ...]
    classes: int
    mean: bool


def curve_charts(
    roc: pd.DataFrame,
    precision_recall: pd.DataFrame,
    classes: Sequence[ClassMetrics],
    macro_roc_auc: float | None,
) -> CurveCharts | None:
    """Return the charts; None if no class has a curve.

    roc, precision_recall: the tables of `components.evaluation.curves`. classes: the metrics of all
    classes. macro_roc_auc: the mean of their ROC AUC.
    """
    with_curve = set(roc["class"])
    known = [scores for scores in classes if scores.name in with_curve]
    if not known:
        return None
    worst = sorted(known, key=lambda scores: scores.roc_auc.value or 0.0)
    mean = len(known) > MOST_LINES
    chosen = worst[:WORST] if mean else known
    styles = {scores.name: f"c{number}" for number, scores in enumerate(chosen, 1)}
    charts = (
        xy_chart(
            "ROC",
            share_scale("false positive rate"),
            share_scale("true positive rate"),
            list(_lines(roc, "fpr", "tpr", styles, mean)),
            guide=[(0, 0), (1, 1)],
        ),
        xy_chart(
            "Precision and recall",
            share_scale("recall"),
            share_scale("precision"),
            list(_lines(precision_recall, "recall", "precision", styles, mean)),
        ),
    )
    lines = [(styles[scores.name], scores.name, scores.roc_auc.value) for scores in chosen]
    if mean:
        lines.insert(0, ("mean", "mean of all classes", macro_roc_auc))
    return CurveCharts(charts, tuple(lines), len(known), mean)


def _lines(table: pd.DataFrame, x: str, y: str, styles: dict[str, str], mean: bool) -> list[Series]:
    curves = {name: rows[[x, y]].to_numpy() for name, rows in table.groupby("class", sort=False)}
    # The mean is drawn last, over the other lines.
    lines = [
        Series(name, style, [(float(a), float(b)) for a, b in curves[name]])
        for name, style in styles.items()
    ]
    if mean:
        level = _true_positives if x == "fpr" else _precisions
        heights = np.mean([level(curve) for curve in curves.values()], axis=0)
        points = list(zip(GRID.tolist(), heights.tolist(), strict=True))
        lines.append(Series("mean of all classes", "mean", points))
    return lines


def _true_positives(curve: Floats) -> Floats:
    """Return the true positive rate at each point of GRID. curve: [P, 2], fpr and tpr."""
    return np.interp(GRID, curve[:, 0], curve[:, 1])


def _precisions(curve: Floats) -> Floats:
    """Return the highest precision at a recall of at least each point of GRID.

    This is the interpolated precision (Manning et al., 2008, chapter 8.4). curve: [P, 2], recall,
    ascending, and precision.
    """
    best = np.maximum.accumulate(curve[::-1, 1])[::-1]
    at = np.searchsorted(curve[:, 0], GRID, side="left")
    return best[np.minimum(at, len(best) - 1)]
