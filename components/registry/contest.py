"""The challenger's probabilities, the champion, the test images → a verdict on the challenger.

The champion is the registered version that is in use. The challenger is the new model, which may
replace the champion. A verdict is a decision (promote, hold or reject) with its reasons.
"""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.errors import UserError, one_line
from components.evaluation.bootstrap import SEED
from components.evaluation.comparison import Rival
from components.evaluation.gate import Verdict, judge
from components.images.decoder import Pixels
from components.model.classifier import Classifier, predict
from components.model.model_file import read_classifier
from components.params.ingest import Ingest
from components.params.prepare import Prepare
from components.params.register import Register
from components.preparation.pixels import prepare_images
from components.registry.seen import DataSet, Seen, unseen_images
from components.registry.seen_store import seen_by
from components.registry.versions import Version, download
from components.training_set.pixels import read_images

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contest:
    """The test images on which the challenger and the champion are compared.

    "Prepared" means decoded and resized. The challenger gets the images in the field `prepared`. If
    the champion needs another image size, way of resizing or other rules of decoding, the image
    files are prepared again for the champion.

    rows: a table with one row for each of the N test images, with the columns path, image_id and
    label_index. prepared: uint8 [N, size, size, 3], the images in the order of `rows`, prepared
    with the params in the field `prepare`. root: the folder of the image files; the paths in `rows`
    are relative to this folder. class_names: the names of the classes; label_index is an index into
    this list. ingest: the section `ingest` of params.yaml, which says how files are decoded.
    prepare: the section `prepare` of params.yaml, which has the size and the way of resizing. data:
    all images of the data set, to find test images that a model has seen.
    """

    rows: pd.DataFrame
    prepared: Pixels
    root: Path
    class_names: Sequence[str]
    ingest: Ingest
    prepare: Prepare
    data: DataSet


@dataclass(frozen=True, eq=False)
class Outcome:
    """A verdict, and the predictions that it is based on.

    verdict: the verdict. champion: the champion's probabilities for the N images of the contest;
    None if nothing was compared. compared: bool [N], True for the images of the comparison.
    """

    verdict: Verdict
    champion: Rival | None
    compared: NDArray[np.bool_]


def judge_against(
    champion: Version | None,
    model_id: str,
    probabilities: NDArray[np.float32],
    seen: Seen,
    contest: Contest,
    register: Register,
    earlier: int,
) -> Outcome:
    """Return the verdict on a challenger, with the predictions that it is based on.

    champion: the version that is the champion; None if there is no champion. model_id: the sha256
    of the challenger's model file. probabilities: float32 [N, C], the challenger's probabilities on
    the images of the contest; column c belongs to contest.class_names[c]. seen: the images that the
    challenger has seen. contest: the test images. register: the section `register` of params.yaml.
    earlier: how many other models were already compared with a champion on exactly these images.

    If the challenger is the same model as the champion, the decision is `hold`. Test images that
    one of the two models has seen are left out. If too few images are left, or if the champion
    cannot be used, the challenger is judged as if there were no champion. In this case the decision
    `promote` becomes `hold`, since the challenger was not compared with the champion.
    """
    labels = contest.rows["label_index"].to_numpy(np.int64)
    all_images = np.ones(len(labels), np.bool_)

    def compare_with(theirs: Rival | None, rows: NDArray[np.bool_]) -> Verdict:
        if theirs is not None:
            theirs = replace(theirs, probabilities=theirs.probabilities[rows])
        names, mine = contest.class_names, probabilities[rows]
        return judge(labels[rows], mine, theirs, names, register, SEED, earlier)

    theirs: Rival | None = None
    models = [("the new model", seen)]
    if champion is not None:
        if champion.model_id == model_id:
            same = f"this model is the champion already, as version {champion.number}"
            alone = replace(compare_with(None, all_images), decision="hold", reasons=(same,))
            return Outcome(alone, None, all_images)
        try:
            theirs = champion_predictions(champion, contest)
            models.append((f"version {champion.number}", seen_by(champion)))
        except UserError as error:
            # The message can contain a path of this machine. The verdict is stored in a file and
            # must not contain such a path. So the message is only logged.
            log.info(f"the champion is not compared with the new model: {error}")
            reason = f"the champion, version {champion.number}, cannot be loaded"
            alone = compare_with(None, all_images)
            nothing = _without_comparison(alone, f"{reason}: nothing is compared")
            return Outcome(nothing, None, all_images)
    unseen = unseen_images(contest.rows, contest.data, models)
    if not unseen.enough:
        alone = compare_with(None, all_images)
        return Outcome(_without_comparison(alone, *unseen.reasons), None, all_images)
    verdict = compare_with(theirs, unseen.rows)
    verdict = replace(verdict, reasons=(*verdict.reasons, *unseen.reasons))
    compared = any(row.champion is not None for row in verdict.comparison)
    return Outcome(verdict, theirs if compared else None, unseen.rows)


def champion_predictions(champion: Version, contest: Contest) -> Rival:
    """Return the champion's probabilities on the images of the contest, and its classes.

    The classes are those that the champion was trained on. They may differ from
    contest.class_names. Raises UserError if the champion cannot be loaded or cannot predict.
    """
    file = download(champion)
    try:
        classifier = read_classifier(file)
        predictions = _predictions(classifier, contest)
    except UserError:
        raise
    except Exception as error:  # A broken old model must not stop the registration of a new model.
        problem = one_line(f"{type(error).__name__}: {error}", longest=300)
        raise UserError(
            f"version {champion.number} cannot be used ({problem}). Received: {file}"
        ) from error
    return Rival(predictions, tuple(classifier.class_names))


def _predictions(classifier: Classifier, contest: Contest) -> NDArray[np.float32]:
    """Return float32 [N, K]: the classifier's probabilities for the test images.

    K is the number of the classifier's own classes. If the classifier was not trained with the
    image size and the way of resizing of contest.prepare, or with the rules of decoding of
    contest.ingest, the images are prepared again.
    """
    # What the classifier refuses is decoded as the contest says: it must answer for every image.
    rules = {key: rule for key, rule in (classifier.decode or {}).items() if rule != "refuse"}
    decode = contest.ingest.decode.with_sixteen_bit(classifier.sixteen_bit).with_pixel_rules(rules)
    ingest = contest.ingest.model_copy(update={"decode": decode})
    sizes = (classifier.size, classifier.resize) == (contest.prepare.size, contest.prepare.resize)
    if sizes and ingest == contest.ingest:
        return predict(classifier, contest.prepared)
    theirs = Prepare.model_validate({"size": classifier.size, "resize": classifier.resize})
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "champion.images.npy"
        prepare_images(contest.root, contest.rows, ingest, theirs, again, Path(folder))
        return predict(classifier, read_images(again))


def _without_comparison(verdict: Verdict, *reasons: str) -> Verdict:
    """Return a copy of the verdict with the reasons why the models were not compared.

    verdict: a verdict on the challenger alone, without a champion.

    If the decision is `promote`, it becomes `hold`, and the new reasons replace the old reasons.
    Otherwise the decision stays, and the new reasons are put before the old reasons.
    """
    if verdict.decision == "promote":
        return replace(verdict, decision="hold", reasons=reasons)
    return replace(verdict, reasons=(*reasons, *verdict.reasons))
