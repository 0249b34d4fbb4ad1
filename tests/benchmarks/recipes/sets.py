"""Images and a split seed → a folder with the pixels of train, val and test, made only once.

Photographs go through the stages `ingest`, `validate`, `split` and `prepare` of the pipeline, with
the card of before and another split seed, so all cards have the same images on the same splits.
Fashion-MNIST has a test split of its own, which stays as it is: only val, and the images of the
long-tailed train split, are drawn by seed.
"""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.params.prepare import Prepare
from components.preparation.statistics import statistics
from pipelines import artifacts, ingest, prepare, split, validate
from pipelines.formats import read_table, write_table, write_tree
from tests.benchmarks.recipes.cards import card_params

FEW = {"train": 25, "val": 5}  # images of each class; test keeps all of its images
SMALL_PX = 96  # the longer side of a photograph of the second set
FACTOR = 100  # images of the largest class / images of the smallest, in the long-tailed set
VAL = 0.15  # share of the long-tailed images, as in the cards
WHOLE_VAL = 1 / 12  # of the whole Fashion-MNIST: 5,000 of 60,000 images

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class DataSet:
    """Images from which splits are made.

    name: the name in results and of folders. write: a function that writes the files of the stage
    `prepare` into the current folder, for a folder of work, a split seed and a section `prepare`.
    drawn_test: true if another seed gives another test split.
    """

    name: str
    write: Callable[[Path, int, Prepare], None]
    drawn_test: bool


def prepared(work: Path, data: DataSet, seed: int, section: Prepare) -> Path:
    """Return the folder with the prepared splits of a seed; make it if it is not there."""
    folder = work / f"{data.name}-{section.size}-{section.resize}-seed{seed}"
    if not folder.is_dir():
        _make(folder, lambda: data.write(work, seed, section))
    return folder


def photographs(name: str, source: Path, few: bool) -> DataSet:
    """Return the data set of a folder with a folder for each class.

    few: if true, the photographs are first made smaller, to SMALL_PX, and train and val have only
    FEW images of each class.
    """

    def check() -> None:
        (_shrink if few else shutil.copytree)(source, artifacts.RAW)
        params = card_params("before", {"validate.label_errors.backbone": "none"})
        ingest.run(params.ingest)
        validate.run(params.ingest, params.section("validate"), params.prepare)

    def write(work: Path, seed: int, section: Prepare) -> None:
        checked = work / f"{name}-checked"
        if not checked.is_dir():
            _make(checked, check)
        shutil.copytree(checked / "data/validate", "data/validate")
        Path(artifacts.RAW).symlink_to(checked / artifacts.RAW)
        params = card_params("before", {"split.seed": seed})
        split.run(params.split)
        if few:
            write_table(artifacts.SPLITS, _few_rows(read_table(artifacts.SPLITS), seed))
        prepare.run(params.ingest, section)

    return DataSet(name, write, drawn_test=True)


def fashion(name: str, source: Path, long_tailed: bool) -> DataSet:
    """Return the data set of an .npz with x_train, y_train, x_test and y_test, as Keras has them.

    long_tailed: if true, class k of C has FACTOR ** (-k / (C - 1)) times the images of class 0 in
    train and val, as in Cui et al. (2019), and test is balanced.
    """

    def write(work: Path, seed: int, section: Prepare) -> None:
        with np.load(source) as arrays:
            images, labels = arrays["x_train"], arrays["y_train"].astype(np.int64)
            test = arrays["x_test"], arrays["y_test"].astype(np.int64)
        generator = np.random.default_rng(seed)
        if long_tailed:
            chosen = _long_tailed_rows(labels, generator)
            share = VAL
        else:
            chosen, share = generator.permutation(len(labels)), WHOLE_VAL
        in_val = _stratified(labels[chosen], share)
        train, val = chosen[~in_val], chosen[in_val]
        parts = {
            "train": (images[train], labels[train]),
            "val": (images[val], labels[val]),
            "test": test,
        }
        _write_arrays(parts, section)

    return DataSet(name, write, drawn_test=False)


def _make(folder: Path, write: Callable[[], None]) -> None:
    """Make a folder as a whole: another process never sees a part of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="unfinished-") as temporary:
        (made := Path(temporary) / "made").mkdir()
        with chdir(made):
            write()
        made.rename(folder)


def _shrink(source: Path, destination: Path) -> None:
    """Copy photographs as PNG files whose longer side is at most SMALL_PX."""
    for path in sorted(source.rglob("*.*")):
        image = cv2.imread(str(path))
        factor = SMALL_PX / max(image.shape[:2])
        target = (destination / path.relative_to(source)).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        size = [max(1, round(side * min(1.0, factor))) for side in image.shape[1::-1]]
        cv2.imwrite(str(target), cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _few_rows(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the rows of test, and of each class FEW rows of train and val, chosen by seed."""
    shuffled = rows.sample(frac=1, random_state=seed)
    number = shuffled.groupby(["split", "label"]).cumcount()
    kept = number[number < shuffled["split"].map(FEW).fillna(len(rows))]
    return rows.loc[sorted(kept.index)]


def _long_tailed_rows(labels: Ints, generator: np.random.Generator) -> Ints:
    """Return the rows of a long-tailed set, in random order."""
    counts = np.bincount(labels)
    largest, classes = counts.min(), len(counts)
    sizes = [round(largest * FACTOR ** (-k / (classes - 1))) for k in range(classes)]
    rows = [
        generator.choice(np.flatnonzero(labels == label), size, replace=False)
        for label, size in enumerate(sizes)
    ]
    return generator.permutation(np.concatenate(rows))


def _stratified(labels: Ints, share: float) -> NDArray[np.bool_]:
    """Return whether each row is in val: of each class the first rows, at least one."""
    number = pd.Series(labels).groupby(labels).cumcount().to_numpy()
    sizes = np.maximum(1, np.round(np.bincount(labels) * share))
    first: NDArray[np.bool_] = number < sizes[labels]
    return first


def _write_arrays(parts: dict[str, tuple[NDArray[np.uint8], Ints]], section: Prepare) -> None:
    """Write the files of the stage `prepare` from grey images: uint8 [N, side, side]."""
    Path("data/prepare").mkdir(parents=True)
    tables = []
    for name, (images, labels) in parts.items():
        size = (section.size, section.size)
        if images.shape[1:3] != size:
            images = np.stack([cv2.resize(image, size) for image in images])
        np.save(artifacts.images(name), np.repeat(images[..., None], 3, axis=3))
        ids = [f"{name}{number}" for number in range(len(labels))]
        rows = pd.DataFrame({"label": labels.astype(str), "label_index": labels, "image_id": ids})
        write_table(artifacts.rows(name), rows)
        tables.append(rows.assign(split=name))
    arrays = {name: artifacts.images(name) for name in parts}
    write_tree(artifacts.STATISTICS, statistics(pd.concat(tables), arrays, section))
