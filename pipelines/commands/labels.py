"""The trained model, accepted images → a table and a page: how well each label fits its image.

The stage `validate` judges labels by features of a network that does not know the user's images.
Here the features come from the backbone of the model that the stage `train` wrote, so they fit the
user's images better. The head of the model is not used, because it has learned the labels of the
train split, including the wrong ones. Instead, classifiers are fitted on the features again. The
label of an image is predicted by classifiers that were fitted on other images only. If
`validate.label_errors` names a backbone, its features are used as well.

The backbone has seen the labels of the train split, too. Its features could hide a wrong label of
the train split. This was measured on TrashNet with 5 % wrong labels and three seeds: among as many
first images as there were wrong labels, 76 % to 80 % were wrong ones. By the features of `validate`
alone they were 72 % to 79 %.
"""

import logging
import time
from pathlib import Path

from components.model.model_file import model_id, read_classifier
from components.params.reader import read_params
from components.validation.page.labels import labels_page, picture_paths
from components.words import count_text
from pipelines import artifacts
from pipelines.formats import read_table, write_table, write_text
from pipelines.suspected_labels import frozen_classifier, rank_labels
from pipelines.validate import thumbnails

log = logging.getLogger(__name__)

FOLDER = artifacts.STATE / "labels"
TABLE, PAGE = FOLDER / "label_scores.csv", FOLDER / "report.html"


def write_ranking() -> None:
    """Rank the accepted images by how well their label fits, and write the table and the page.

    No image is removed, and no file of a stage is changed.
    Raises UserError if the stage `validate` or `train` has not run, or if an image cannot be read.
    """
    start = time.monotonic()
    params = read_params(Path("params.yaml"))
    accepted, links = read_table(artifacts.ACCEPTED), read_table(artifacts.DUPLICATES)
    classifier = read_classifier(artifacts.MODEL)
    log.info(
        f"{count_text(len(accepted), 'image')}: read each image at {classifier.size} px, compute "
        "its features, then fit classifiers on them; nothing is trained again"
    )
    frozen = frozen_classifier(params.validate_.label_errors, params.prepare)
    classifiers = [classifier] if frozen is None else [classifier, frozen]
    errors = rank_labels(accepted, links, params.ingest, classifiers, fit_again=True)
    paths, labels = accepted["path"].tolist(), accepted["label"].tolist()
    tree = errors.tree(paths)
    pictures = dict(thumbnails(picture_paths(tree), params.ingest.decode))
    write_table(TABLE, errors.scores(paths, labels))
    write_text(PAGE, labels_page(tree, pictures, model_id(artifacts.MODEL)))
    suspects = count_text(len(errors.table), "label")
    log.info(f"{suspects} of {errors.images} may be wrong; all images stay")
    log.info(f"{PAGE} shows the first images, and {TABLE} ranks all of them")
    log.info(f"took {time.monotonic() - start:.0f} s")
