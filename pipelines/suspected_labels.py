"""accepted rows, data/raw → all images, ranked by how well their label fits.

A label is judged by the features of its image. Features are the outputs of a backbone that is
already trained. The backbone is frozen, that is, it is not trained further.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.label_errors.suspects import LabelErrors, suspects
from components.model.classifier import Classifier, build_classifier
from components.model.features import FrozenBackbone
from components.model.model_file import read_classifier
from components.model.warm_start import warm_start_classifier
from components.params import validate
from components.params.ingest import Ingest
from components.params.prepare import Prepare
from components.preparation.pixels import prepare_images
from components.registry.weights import resolve_weights
from components.splits.sets import near_pairs, row_sets
from components.training_set.examples import Examples
from components.training_set.pixels import read_images
from pipelines import artifacts

log = logging.getLogger(__name__)

ONE_CLASS = ("",)  # The head of a classifier needs at least one class. The head is not used here.
# At most this many images are prepared together. They need 600 MB on the disk at 224 × 224 pixels.
AT_A_TIME = 4096


def suspected_labels(
    accepted: pd.DataFrame, links: pd.DataFrame, ingest: Ingest, classifier: Classifier | None
) -> LabelErrors | None:
    """Rank the images by how well their label fits, and log how many labels may be wrong.

    accepted, links: see `rank_labels`. classifier: the result of `frozen_classifier`. If it is
    None, the result is None. Raises UserError if an image cannot be read.
    """
    if classifier is None:
        return None
    ranked = rank_labels(accepted, links, ingest, [classifier])
    log.info(f"{len(ranked.table)} of {ranked.images} labels may be wrong; all images stay")
    return ranked


def rank_labels(
    accepted: pd.DataFrame,
    links: pd.DataFrame,
    ingest: Ingest,
    classifiers: Sequence[Classifier],
    *,
    fit_again: bool = False,
) -> LabelErrors:
    """Rank the images by how well their label fits, by the features of one or more classifiers.

    accepted: the accepted rows of the manifest. links: the table of pairs of copies, from
    duplicates.parquet. classifiers: their backbones compute the features; their heads are not used.
    fit_again: see `suspects`.
    The label of an image is predicted by a model that was not fitted on copies of the image or on
    other images of its group.
    Raises UserError if an image cannot be read.
    """
    sets = row_sets(accepted, near_pairs(accepted, links))
    features = [_features(accepted, ingest, classifier) for classifier in classifiers]
    labels = accepted["label"].tolist()
    return suspects(np.concatenate(features, axis=1), labels, sets.tolist(), fit_again=fit_again)


def _features(rows: pd.DataFrame, ingest: Ingest, classifier: Classifier) -> NDArray[np.float32]:
    """Return the frozen features of the images, float32 [N, D], in the order of `rows`.

    The features are cached in `.fovea/features`.
    """
    prepare = Prepare.model_validate({"size": classifier.size, "resize": classifier.resize})
    parts = []
    artifacts.STATE.mkdir(exist_ok=True)
    frozen = FrozenBackbone(classifier, artifacts.STATE / "features")
    for start in range(0, len(rows), AT_A_TIME):
        part = rows.iloc[start : start + AT_A_TIME]
        with TemporaryDirectory(dir=artifacts.STATE) as folder:
            pixels = Path(folder) / "label_errors.images.npy"
            prepare_images(artifacts.RAW, part, ingest, prepare, pixels, artifacts.STATE)
            examples = Examples(read_images(pixels), np.zeros(len(part), np.int64))
            parts.append(frozen.features(examples).inputs)
    return np.concatenate(parts)


def frozen_classifier(params: validate.LabelErrors, prepare: Prepare) -> Classifier | None:
    """Return a classifier with the backbone that `params` names. Its head is not used.

    The result is None if `params.backbone` is `none`.
    prepare: the section `prepare` of params.yaml.
    Raises UserError if the backbone is unknown, or if its weights cannot be read.
    """
    if params.backbone == "none":
        return None
    model, images = params.model(), params.images(prepare)
    file = resolve_weights(model)
    if file is None:
        return build_classifier(model, ONE_CLASS, images.size, images.resize)
    source = read_classifier(file)
    return warm_start_classifier(model, ONE_CLASS, images.size, images.resize, source, "")
