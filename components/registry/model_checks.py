"""params.yaml → an error if a model that it names cannot be built, or lacks its weights."""

from components.errors import UserError
from components.model.backbones import check_backbone, listed_widths
from components.params.model import Model
from components.params.reader import Params
from components.params.search import Range
from components.params.sentences import in_yaml
from components.registry.weights import resolve_weights


def check_models(params: Params) -> None:
    """Raise UserError if a model in params.yaml cannot be built, or if its weights are missing.

    These models are checked: the model of the section `model`, the models that the stage `search`
    may try, and the model that finds wrong labels.
    Raises UserError if a backbone is unknown, or does not take images of the configured size, the
    width or the weights, or if weights are missing. Missing ImageNet weights are downloaded.
    """
    _check_width_range(params)
    for model in params.models_to_try():
        check_model(model, params.prepare.size)
    label_errors = params.validate_.label_errors
    if label_errors.backbone != "none":
        check_model(label_errors.model(), label_errors.images(params.prepare).size)


def check_model(model: Model, size: int) -> None:
    """Raise UserError if a model cannot be built, or if its weights are missing or do not fit.

    model: the section `model` of params.yaml. size: the side of the square images, in pixels.
    """
    check_backbone(model, size)
    file = resolve_weights(model, size)
    if file is not None:
        from components.model.model_file import read_classifier
        from components.model.warm_start import warm_start_classifier

        source = read_classifier(file)
        warm_start_classifier(model, source.class_names, size, source.resize, source, "")


def _check_width_range(params: Params) -> None:
    """Raise UserError if a search may choose a width that a backbone does not accept.

    A range is not enough to check by its ends: MobileNetV2 has ImageNet weights for the widths 0.35
    and 1.0, but not for 0.61.
    """
    values = params.search.space.get("model.width")
    if not isinstance(values, Range) or values.step:
        return
    for model in params.models_to_try(searched="model.width"):
        if widths := listed_widths(model):
            inside = [width for width in widths if values.low <= width <= values.high]
            why = " with ImageNet weights" if model.weights == "imagenet" else ""
            raise UserError(
                f"search.space.model.width must be choices, because {model.backbone}{why} has only "
                f"the widths {', '.join(map(str, widths))}; write "
                f"`model.width: {{choices: {in_yaml(inside or widths)}}}`. "
                f"Received: {in_yaml(values.model_dump(exclude_defaults=True))}"
            )
