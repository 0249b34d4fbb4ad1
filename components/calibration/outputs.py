"""A trained network, hyperparameters, val → the classifier that is saved, and the effect on val.

logits → mean over views → logit adjustment → ÷ temperature → softmax. Each is fitted on what those
before it give.
"""

from components.calibration.averaged_views import add_views
from components.calibration.effect import Effect
from components.calibration.temperature import calibrate
from components.model.classifier import Classifier
from components.params.hyperparameters import Hyperparameters
from components.training_set.examples import Data


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
