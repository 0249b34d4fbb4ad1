"""Prepared train and val splits, params → which method against unequal classes fits these images.

Every method trains only the head, on features that are computed once and stored, so all of them are
compared in about a minute for 2,000 images. No file of a stage is changed.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.errors import UserError
from components.imbalance.comparison import SCORES, Comparison, compare
from components.imbalance.methods import TUNED_KEY
from components.imbalance.page import TITLES, comparison_page
from components.model.backend import load_keras
from components.model.classifier import Classifier
from components.model.features import FrozenBackbone
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params, read_params
from components.progress import track
from components.registry.weights import resolve_weights
from components.review.figures import interval_text
from components.splits.sets import near_pairs, row_sets
from components.training.starts import start_classifier
from components.training.transforms import check_augmentation
from components.training_set.examples import Data, Examples
from components.words import count_text
from pipelines import artifacts
from pipelines.commands.console import show_lines, show_table
from pipelines.formats import read_table, write_table, write_text
from pipelines.training_data import read_training_data
from pipelines.workspace.prepared import check_prepared

log = logging.getLogger(__name__)

FOLDER = artifacts.STATE / "balance"
TABLE, PAGE = FOLDER / "comparison.csv", FOLDER / "report.html"


def compare_methods(seeds: int) -> None:
    """Compare all methods with some seeds, and print which one to choose.

    Raises UserError if the stage `balance` has not run with these params, if the training has no
    phase `head`, if a transform cannot be used, or if a class has too few images.
    """
    start = time.monotonic()
    params = read_params(Path("params.yaml"))
    if not params.model.pretrained:
        raise UserError(
            "the comparison needs a backbone that is trained already; write `weights: imagenet` or "
            "a model file into the section `model`, or compare full trainings with "
            "`dvc exp run -S balance.strategy=…`. Received: model.weights: none"
        )
    if not params.train.head.epochs:
        raise UserError(
            "the comparison trains heads as in the phase `head`, which has no epochs; raise "
            "train.head.epochs, for example to 60. Received: 0"
        )
    check_augmentation(params.train.augmentation, params.prepare.size)
    check_prepared()
    data = read_training_data()
    rows = pd.concat([read_table(artifacts.rows(split)) for split in ("train", "val")])
    sets = row_sets(rows, near_pairs(rows, read_table(artifacts.DUPLICATES)))
    hyperparameters = Hyperparameters(model=params.model, train=params.train)
    classifier = _classifier(hyperparameters, data)
    pool = _features(classifier, data)
    beta = params.balance.effective_number_beta
    comparison = compare(
        classifier, pool, sets.tolist(), params.train, beta, seeds, _track_trainings
    )
    counts = rows["label"].value_counts().to_dict()
    write_table(TABLE, _table(comparison))
    command = comparison.chosen.method.command(_switches(params))
    write_text(PAGE, comparison_page(comparison, {n: counts[n] for n in data.class_names}, command))
    log.info(f"{PAGE} has the charts, and {TABLE} the numbers")
    log.info(f"took {time.monotonic() - start:.0f} s")
    _show(comparison, command)


def _switches(params: Params) -> dict[str, str]:
    """Return the value of params.yaml for each switch of a method."""
    return {
        "balance.strategy": params.balance.strategy,
        "train.loss": params.train.loss,
        TUNED_KEY: params.model.logit_adjustment,
    }


def _classifier(hyperparameters: Hyperparameters, data: Data) -> Classifier:
    load_keras(hyperparameters.train.threads)
    import keras

    keras.backend.clear_session()  # Then the stored features of a training are found.
    return start_classifier(hyperparameters, data, resolve_weights(hyperparameters.model))


def _features(classifier: Classifier, data: Data) -> Examples:
    """Return the features of train and val, in this order."""
    frozen = FrozenBackbone(classifier, artifacts.STATE / "features")
    train, val = frozen.features(data.train), frozen.features(data.val)
    return Examples(
        np.concatenate([train.inputs, val.inputs]), np.concatenate([train.labels, val.labels])
    )


def _track_trainings(trainings: Iterator[None], total: int) -> Iterator[None]:
    return track(trainings, "heads trained", total)


def _table(comparison: Comparison) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for result in comparison.results:
        row: dict[str, Any] = {"method": result.method.name}
        for score in SCORES:
            interval = result.differences[score]
            row |= {
                score: result.means[score],
                f"{score}_difference": interval.value,
                f"{score}_low": interval.low,
                f"{score}_high": interval.high,
            }
        rows.append(row)
    return pd.DataFrame(rows).round(6)


def _show(comparison: Comparison, command: str) -> None:
    columns = ["method", *(f">{TITLES[score]}" for score in SCORES)]
    first, *others = comparison.results
    table = [[first.method.name, *(f"{first.means[score]:.3f}" for score in SCORES)]]
    for result in others:
        gains = [interval_text(result.differences[score], signed=True) for score in SCORES]
        table.append([result.method.name, *gains])
    seeds = count_text(comparison.seeds, "seed")
    show_table(f"none, and the difference of each method to it ({seeds})", columns, table)
    show_lines(f"rare: {', '.join(comparison.rare)}")
    chosen = comparison.chosen
    if chosen is first:
        show_lines("no method is surely better than none in macro F1; to train without one:")
    else:
        show_lines(f"{chosen.method.name} is surely better than none in macro F1, so try:")
    show_lines(f"  {command}")
