"""What a test report is made from: figures of weak predictions, pictures, explained mistakes."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from components.calibration.effect import Effect
from components.calibration.scores import Bin, Calibration
from components.evaluation.abstention import abstention
from components.evaluation.curves import precision_recall_points, roc_points
from components.evaluation.evaluation import Evaluation
from components.evaluation.explained import Explained
from components.evaluation.metrics import measure
from components.evaluation.operating_point import operating_point
from components.evaluation.predictions import predictions
from components.evaluation.report import Material, Subject
from components.evaluation.robustness import Robustness
from components.evaluation.slice_members import Members
from components.evaluation.slices import measure_slices
from components.evaluation.top_k import top_k_accuracy
from components.explanation.explanation import Explanation, Neighbour
from components.explanation.mistakes import ConfusedPair, ExplainedMistakes
from components.training_set.costs import cost_matrix

HISTORY = pd.DataFrame(
    {
        "phase": ["head", "head", "finetune"],
        "epoch": [1, 2, 1],
        "kept": [False, True, False],
        "loss": [2.0, 1.0, float("nan")],
        "accuracy": [0.2, 0.5, 0.8],
        "val_loss": [1.5, 1.0, 0.5],
        "val_accuracy": [0.3, 0.6, 0.9],
    }
)
BEFORE = Calibration(0.25, 0.7, 0.4, (Bin(30, 0.55, 0.8), Bin(10, 0.9, 1.0)))
AFTER = Calibration(0.02, 0.5, 0.3, (Bin(40, 0.83, 0.85),))
EFFECT = Effect(0.5, 40, BEFORE, AFTER, ("val has no <mistake>",))
NOTHING = Explained(None)


def rows_of(labels, names: Sequence[str]) -> pd.DataFrame:
    numbers = range(len(labels))
    return pd.DataFrame(
        {
            "image_id": [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers],
            "path": [
                f"{names[label]}/{n:04}.png" for n, label in zip(numbers, labels, strict=True)
            ],
            "label": [names[label] for label in labels],
            "label_index": labels,
        }
    )


def subject(names: Sequence[str]) -> Subject:
    counts = {"train": {names[0]: 1400}, "val": {names[0]: 97}, "test": {names[0]: 300}}
    return Subject("compact", 8, 12_345, counts, "a1" * 32, "b2" * 32)


def evaluation_of(
    labels,
    probabilities,
    names: Sequence[str],
    params,
    members: Sequence[Members] = (),
    costs=None,
    robustness: Robustness | None = None,
) -> Evaluation:
    matrix = cost_matrix(costs, names) if costs else None
    return Evaluation(
        measure(labels, probabilities, names, params, 1),
        params.top_k,
        top_k_accuracy(labels, probabilities, params.top_k, params.confidence),
        abstention(labels, probabilities, params.confidence),
        measure_slices(labels, probabilities, members, params.confidence),
        operating_point(labels, probabilities, matrix, names, params, 1),
        robustness,
    )


def material_of(labels, probabilities, names, images, costs=None, mistakes=5) -> Material:
    return Material(
        predictions(rows_of(labels, names), probabilities, names),
        images,
        roc_points(labels, probabilities, names),
        precision_recall_points(labels, probabilities, names),
        costs or {},
        mistakes,
    )


def explained(about: Material, amount: int, mapped: bool = True) -> Explained:
    """The surest mistakes, those of the first wrong class and of one pair, with made-up maps."""
    table = about.predicted.reset_index(drop=True)
    wrong = table[table["label"] != table["predicted"]].sort_values("confidence", ascending=False)

    def explanation(row: int) -> Explanation:
        image, found = np.asarray(about.images[row]), table.iloc[row]
        near = (
            Neighbour(0, 255 - image, found["predicted"], 0.125),
            Neighbour(1, image, found["label"], 0.25),
        )
        return Explanation(
            row,
            image,
            found["label"],
            found["predicted"],
            float(found["confidence"]),
            found["predicted"],
            image // 2,
            mapped,
            near,
        )

    def chosen(part: pd.DataFrame) -> tuple[Explanation, ...]:
        return tuple(explanation(row) for row in part.index[:amount])

    weakest = wrong["label"].iloc[0]
    label, predicted = wrong["label"].iloc[-1], wrong["predicted"].iloc[-1]
    of_pair = wrong[(wrong["label"] == label) & (wrong["predicted"] == predicted)]
    pair = ConfusedPair(label, predicted, len(of_pair), chosen(of_pair))
    found = ExplainedMistakes(
        "top_conv",
        (7, 5),
        len(wrong),
        chosen(wrong),
        weakest,
        chosen(wrong[wrong["label"] == weakest]),
        (pair,),
    )
    return Explained(found, "", ("train/a.png", "train/b.png"), 4)
