import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from components.evaluation.curves import LONGEST, precision_recall_points, roc_points
from components.evaluation.predictions import confident_mistakes, confusion_rows, predictions

ROWS = pd.DataFrame(
    {
        "image_id": ["11", "22", "33", "44"],
        "path": ["cat/1.png", "dog/2.png", "cat/3.png", "cat/0.png"],
        "label": ["cat", "dog", "cat", "cat"],
        "label_index": [0, 1, 0, 0],
        "split": "test",
    }
)
PROBABILITIES = np.array([[0.25, 0.75], [0.875, 0.125], [0.5, 0.5], [0.25, 0.75]], np.float32)


def test_predictions_keep_order_and_probabilities(tmp_path):
    predicted = predictions(ROWS, PROBABILITIES, ["cat", "dog"])
    predicted.to_parquet(tmp_path / "predictions.parquet")
    read = pd.read_parquet(tmp_path / "predictions.parquet")
    assert read["predicted"].tolist() == ["dog", "cat", "cat", "dog"]
    assert read["confidence"].tolist() == [0.75, 0.875, 0.5, 0.75]
    assert np.array_equal(np.stack(list(read["probabilities"])), PROBABILITIES)


def test_the_surest_mistakes_come_first_with_their_own_pixels():
    images = np.arange(4, dtype=np.uint8).repeat(12).reshape(4, 2, 2, 3)
    predicted = predictions(ROWS, PROBABILITIES, ["cat", "dog"])
    found = list(confident_mistakes(predicted, images, 3))
    assert [mistake.path for mistake in found] == ["dog/2.png", "cat/0.png", "cat/1.png"]
    assert [int(mistake.pixels[0, 0, 0]) for mistake in found] == [1, 3, 0]
    assert len(list(confident_mistakes(predicted, images, 1))) == 1


def test_confusion_has_a_row_per_image_as_the_dvc_template_wants():
    rows = confusion_rows(predictions(ROWS, PROBABILITIES, ["cat", "dog"]))
    assert rows.to_dict("list") == {
        "actual": ["cat", "dog", "cat", "cat"],
        "predicted": ["dog", "cat", "cat", "dog"],
    }


def test_thinned_curves_keep_their_area(digits):
    roc = roc_points(digits.labels, digits.probabilities, digits.class_names)
    curves = precision_recall_points(digits.labels, digits.probabilities, digits.class_names)
    for index, name in enumerate(digits.class_names):
        inside, scores = digits.labels == index, digits.probabilities[:, index]
        one = roc[roc["class"] == name]
        assert len(one) <= LONGEST
        assert auc(one["fpr"], one["tpr"]) == pytest.approx(
            roc_auc_score(inside, scores), abs=0.002
        )
        other = curves[curves["class"] == name]
        assert other["recall"].is_monotonic_increasing
        area = auc(other["recall"], other["precision"])
        assert area == pytest.approx(average_precision_score(inside, scores), abs=0.02)


def test_a_class_without_test_images_has_no_curve(digits):
    some = digits.labels != 4
    roc = roc_points(digits.labels[some], digits.probabilities[some], digits.class_names)
    assert set(roc["class"]) == set(digits.class_names) - {"4"}
