"""A workspace with prepared digits, and a model that has seen none of them."""

import shutil
from pathlib import Path

from components.model.backend import load_keras
from components.model.classifier import Classifier, build_classifier
from components.params.reader import Params
from pipelines import artifacts
from pipelines.formats import read_tree
from tests.cards import DIGITS


def model_of_digits(
    prepared: Path, folder: Path, params: Params, order: slice = slice(None)
) -> Classifier:
    """Copy prepared digits and their params.yaml to a folder; return a model for them.

    Its weights are random. order: that of its classes, from the order of the data.
    """
    shutil.copytree(prepared, folder, dirs_exist_ok=True)
    shutil.copy(DIGITS, folder / "params.yaml")
    load_keras()
    import keras

    keras.utils.set_random_seed(4)
    names = read_tree(folder / artifacts.STATISTICS)["class_names"][order]
    return build_classifier(params.model, names, params.prepare.size, params.prepare.resize)
