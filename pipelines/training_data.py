"""The files of the stages `prepare` and `balance` → the data for `search` and `train`."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from components.training_set.examples import Balance, Data, Examples
from components.training_set.pixels import read_images
from pipelines import artifacts
from pipelines.formats import read_table, read_tree


def read_training_data() -> Data:
    """Return the train and val splits, with the balance plan and the class names.

    The pixels are not loaded into memory. They are read from the disk when they are used. This
    function reads the files with pixels only to check their sha256.
    Raises UserError if an earlier stage has not run, or if a file with pixels is damaged.
    """
    statistics = read_tree(artifacts.STATISTICS)
    return Data(
        _examples("train", statistics["pixels"]),
        _examples("val", statistics["pixels"]),
        Balance.from_plan(read_tree(artifacts.PLAN)),
        tuple(statistics["class_names"]),
        statistics["size"],
        statistics["resize"],
        hashlib.sha256(json.dumps(statistics, sort_keys=True).encode()).hexdigest(),
        statistics.get("sixteen_bit", "high_byte"),
        statistics.get("decode"),
    )


def _examples(split: str, sums: Mapping[str, str]) -> Examples:
    labels = read_table(artifacts.rows(split))["label_index"].to_numpy(np.int64)
    return Examples(read_images(artifacts.images(split), sums[split]), labels)
