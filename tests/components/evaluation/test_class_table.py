import io

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from components.evaluation.class_table import class_table, few_images, weakest_classes_first
from components.evaluation.metrics import measure

SEED = 1


def as_written(table: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(table.to_csv(index=False)), keep_default_na=False, na_values="")


def test_it_has_every_class_in_its_order_with_the_figures_of_scikit_learn(digits, quick):
    names = (*"98765432", "nan", "a,b")
    metrics = measure(digits.labels, digits.probabilities, names, quick, SEED)
    table = as_written(class_table(metrics.classes))
    assert table["class"].tolist() == list(names)
    predicted = digits.probabilities.argmax(axis=1)
    expected = precision_recall_fscore_support(digits.labels, predicted, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert table[name].tolist() == pytest.approx(values, abs=1e-6)
    areas = [roc_auc_score(digits.labels == n, digits.probabilities[:, n]) for n in range(10)]
    assert table["roc_auc"].tolist() == pytest.approx(areas, abs=1e-6)
    for name in ("precision", "recall", "f1", "roc_auc"):
        # A class whose F1 is 1 in all resamples has no interval of it.
        assert (table[f"{name}_low"].fillna(table[name]) <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"].fillna(table[name])).all()
        assert table[f"{name}_low"].notna().sum() >= 7


def test_for_mlflows_page_the_lowest_recall_comes_first_and_the_ends_of_intervals_last():
    table = pd.DataFrame(
        {"class": ["a", "b", "c"], "support": 1, "precision": 1.0, "precision_low": 0.5}
    ).assign(recall=[0.9, None, 0.1], recall_low=0.0)
    shown = weakest_classes_first(table)
    assert [*shown] == [
        *("class", "support", "recall", "precision", "precision_low", "recall_low"),
    ]
    assert shown["class"].tolist() == ["c", "a", "b"]


def test_what_is_undefined_is_an_empty_cell(quick):
    labels = np.array([0, 1] * 20)
    metrics = measure(labels, np.eye(3)[labels], ["a", "b", "c"], quick, SEED)
    table = as_written(class_table(metrics.classes))
    assert table.iloc[2].isna().sum() == 3 * 4
    assert table["support"].tolist() == [20, 20, 0]


def test_two_test_images_of_a_class_are_measured_and_said_to_be_few(quick):
    labels = np.repeat([0, 1], [30, 2])
    metrics = measure(labels, np.eye(2)[labels], ["glass", "metal"], quick, SEED)
    metal = metrics.classes[1]
    assert (metal.recall.value, metal.support) == (1, 2)
    assert metal.recall.low < 0.4
    said = few_images(metrics.classes)
    assert said.startswith("1 class has fewer than 10 test images, so")
    assert said.endswith(": metal (2)")
    assert few_images(metrics.classes[:1]) == ""


@pytest.mark.parametrize(("images", "said"), [(9, True), (10, False)])
def test_ten_test_images_are_not_few(quick, images, said):
    labels = np.repeat([0, 1], [30, images])
    classes = measure(labels, np.eye(2)[labels], ["glass", "metal"], quick, SEED).classes
    assert bool(few_images(classes)) == said
