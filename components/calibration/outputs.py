"""A trained network, hyperparameters, val → the classifier that is saved, and the effect on val.

The layers are added in the order of components/model/classifier.py.
"""

import numpy as np
from numpy.typing import NDArray

from components.calibration.adjustment import fit_adjustment
from components.calibration.averaged_views import add_views
from components.calibration.effect import Effect
from components.calibration.scores import calibration
from components.calibration.temperature import fit_temperature, softmax
from components.errors import UserError
from components.model.classifier import (
    Classifier,
    add_logit_adjustment,
    add_temperature,
    outputs,
)
from components.params.hyperparameters import Hyperparameters
from components.training_set.examples import Data, Examples


def fit_outputs(
    classifier: Classifier, hyperparameters: Hyperparameters, data: Data
) -> tuple[Classifier, Effect]:
    """Add what `model.views` and `model.logit_adjustment` ask for, and a temperature.

    classifier: a trained classifier; the one that is returned shares its layers. data: the images
    and labels; only val and the shares of the classes in the loss are used.
    Raises UserError if no image of val has finite logits.
    """
    log_priors = None
    if hyperparameters.model.logit_adjustment == "tuned":
        log_priors = data.balance.for_loss(hyperparameters.train.loss).log_priors
    averaged = add_views(classifier, hyperparameters.model.views)
    return calibrate(averaged, data.val, log_priors)


def calibrate(
    classifier: Classifier, val: Examples, log_priors: NDArray[np.float32] | None = None
) -> tuple[Classifier, Effect]:
    """Fit logit adjustment and temperature on val; return the classifier with them, and the effect.

    classifier: a trained classifier. The classifier that is returned shares its layers. val: images
    uint8 [N, size, size, 3] with labels. Images whose logits are not all finite numbers are left
    out, and a note says how many. log_priors: float32 [C], see `fit_adjustment`; None for no logit
    adjustment. The temperature is fitted on the adjusted logits. Raises UserError if no image is
    left.
    """
    logits = outputs(classifier.logits_model, val.inputs).astype(np.float64)
    finite = np.isfinite(logits).all(axis=1)
    if not finite.any():
        raise UserError(
            "the temperature cannot be fitted, because no val image has finite logits; lower the "
            f"learning rates in the section train. Received: {len(logits)} val images"
        )
    logits, labels = logits[finite], val.labels[finite]
    before = calibration(labels, softmax(logits))
    adjustment = None if log_priors is None else fit_adjustment(logits, labels, log_priors)
    if adjustment is not None and adjustment.tau:
        logits = logits + adjustment.shift
        classifier = add_logit_adjustment(classifier, adjustment.shift)
    temperature, notes = fit_temperature(logits, labels)
    if left_out := int((~finite).sum()):
        notes += (f"{left_out} val images without finite logits are left out",)
    after = calibration(labels, softmax(logits / temperature))
    effect = Effect(temperature, len(labels), before, after, notes, adjustment)
    return add_temperature(classifier, temperature), effect
