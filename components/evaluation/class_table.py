"""Metrics of each class → the table data/evaluate/classes.csv."""

from collections.abc import Sequence

import pandas as pd

from components.evaluation.metrics import PER_CLASS, ClassMetrics, rounded
from components.words import count_text, name_list

FEW = 10  # test images; the interval of a recall of 0.5 is then wider than from 0.2 to 0.8


def class_table(classes: Sequence[ClassMetrics]) -> pd.DataFrame:
    """Return one row for each class, in the order of the class names.

    Columns of the result: `class`, `support` (number of test images), and for each metric of
    PER_CLASS three columns, such as `recall`, `recall_low` and `recall_high`. A value or an end of
    an interval that is undefined is an empty cell.
    """
    rows = []
    for measured in classes:
        row: dict[str, object] = {"class": measured.name, "support": measured.support}
        for metric in PER_CLASS:
            figure = getattr(measured, metric)
            ends = {f"{metric}_low": figure.low, f"{metric}_high": figure.high}
            row |= {name: rounded(end) for name, end in ({metric: figure.value} | ends).items()}
        rows.append(row)
    return pd.DataFrame(rows)


def weakest_classes_first(table: pd.DataFrame) -> pd.DataFrame:
    """Return `class_table` for MLflow's page, which shows the first four columns.

    The lowest recall comes first, an undefined one last. The recall is the third column; the ends
    of all intervals come after the values.
    """
    columns = ["class", "support", "recall", *table]
    columns.sort(key=lambda name: name.endswith(("_low", "_high")))
    return table.sort_values("recall", kind="stable", na_position="last")[[*dict.fromkeys(columns)]]


def few_images(classes: Sequence[ClassMetrics]) -> str:
    """Return a sentence about classes with fewer than FEW test images; empty if there is none."""
    small = [measured for measured in classes if measured.support < FEW]
    few = [f"{measured.name} ({measured.support})" for measured in small]
    if not few:
        return ""
    whose = "its" if len(few) == 1 else "their"
    return (
        f"{count_text(len(few), 'class has', 'classes have')} fewer than {FEW} test images, so "
        f"{whose} figures say little; add images, or raise split.test: {name_list(few)}"
    )
