"""The name of a backbone → a network that turns the uint8 pixels of an image into a feature vector.

A backbone is the part of a classifier that computes features. The backbone `compact` is a small
network, which is defined in compact.py and has no ImageNet weights. All other backbones are Keras
applications, and Keras has ImageNet weights for them; applications.py lists them.
"""

from typing import Any

from components.errors import UserError
from components.model.applications import APPLICATIONS, Application, PixelScale
from components.model.backend import load_keras
from components.model.compact import compact
from components.model.imagenet_weights import check_content, fetch
from components.model.pooling import add_pooling
from components.params.model import Model
from components.params.sentences import in_yaml, nearest

COMPACT_MIN_SIZE = 8
# Keras' applications add these poolings themselves. In a ConvNeXt, a normalisation follows; with
# the other poolings, it comes before the pooling.
KERAS_POOLING = ("avg", "max")
# Five views are corners and a centre. In a smaller image, they would be nearly the same pixels.
FIVE_VIEWS_MIN_SIZE = 16


def check_backbone(model: Model, size: int) -> None:
    """Raise UserError if a model cannot be built: its backbone, width, weights and size of images.

    model: the section `model` of params.yaml. size: the side of the square images, in pixels.
    The check is fast, because it does not import Keras.
    """
    if model.backbone == "compact":
        least = COMPACT_MIN_SIZE
        if model.weights == "imagenet":
            raise UserError(
                f"{model.place}: the backbone compact has no ImageNet weights; write "
                f"`{model.without_weights}`, or choose another backbone. "
                "Received: weights: imagenet"
            )
    elif application := APPLICATIONS.get(model.backbone):
        least = application.min_size
        _check_width(model)
    else:
        near = nearest(model.backbone, ["compact", *APPLICATIONS], "choose one of the list")
        raise UserError(
            f"{model.place}.backbone: there is no such backbone; {near}; `fovea backbones` lists "
            f"all. Received: {in_yaml(model.backbone)}"
        )
    if size < least:
        raise UserError(
            f"{model.backbone} needs images with a side of at least {least} pixels; raise "
            f"{model.size_key}. Received: {size}"
        )
    if model.views == "five" and size < FIVE_VIEWS_MIN_SIZE:
        raise UserError(
            f"{model.place}.views: five are corners and the centre of an image, which needs a side "
            f"of at least {FIVE_VIEWS_MIN_SIZE} pixels; raise {model.size_key}, or write "
            f"`views: mirrored` or `views: plain`. Received: {size}"
        )


def check_imagenet(model: Model, size: int) -> None:
    """Download the ImageNet weights of the backbone if they are not yet in Keras' cache.

    model: the section `model` of params.yaml, with `weights: imagenet`. size: the side of the
    square images, in pixels.
    Raises UserError in the same cases as `build_backbone`.
    """
    build_backbone(model, size)


def build_backbone(model: Model, size: int) -> Any:
    """Build the keras.Model `backbone`, which maps pixels to features.

    model: the section `model` of params.yaml. size: the side of the square images, in pixels.
    Returns a network from pixels uint8 [N, size, size, 3] to features float32 [N, D]. The network
    includes the scaling of the pixels and the pooling. If `model.weights` is `imagenet`,
    the network has ImageNet weights. Otherwise the network has random weights.
    Raises UserError if the backbone is unknown or does not accept the size, width or weights. Also
    raises UserError if the ImageNet weights cannot be downloaded, or if their sha256 differs from
    the sha256 in `APPLICATIONS`.
    """
    check_backbone(model, size)
    load_keras()
    import keras

    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    if model.backbone == "compact":
        maps = compact(scale_pixels(images, "signed"), model.width)
        features = add_pooling(maps, model.pooling)
    else:
        application = APPLICATIONS[model.backbone]
        network = _application(model, application, size)
        outputs = network(scale_pixels(images, application.pixels))
        features = (
            outputs if model.pooling in KERAS_POOLING else add_pooling(outputs, model.pooling)
        )
    return keras.Model(images, features, name="backbone")


def listed_widths(model: Model) -> tuple[float, ...]:
    """Return the only widths that the backbone accepts with its weights. Empty: every width.

    model: the section `model` of params.yaml.
    """
    application = APPLICATIONS.get(model.backbone)
    if application is None:
        return ()
    if application.widths and model.weights == "imagenet":
        return application.widths
    return () if application.widths else (1.0,)


def _check_width(model: Model) -> None:
    widths = listed_widths(model)
    least = APPLICATIONS[model.backbone].min_width
    if not widths and model.width < least:
        raise UserError(
            f"{model.place}.width of {model.backbone} must be at least {least}. "
            f"Received: {model.width}"
        )
    if not widths or model.width in widths:
        return
    why = " with ImageNet weights" if APPLICATIONS[model.backbone].widths else ""
    raise UserError(
        f"{model.place}.width of {model.backbone}{why} must be one of "
        f"{', '.join(map(str, widths))}. Received: {model.width}"
    )


def _application(model: Model, application: Application, size: int) -> Any:
    """Build the network of a Keras application. If it gets ImageNet weights, check the weights."""
    import keras

    arguments: dict[str, Any] = {
        "include_top": False,
        "input_shape": (size, size, 3),
        "pooling": model.pooling if model.pooling in KERAS_POOLING else None,
        "weights": "imagenet" if model.weights == "imagenet" else None,
    }  # The argument `name` is not set, because Keras finds some weights by the default name.
    if application.widths:
        arguments["alpha"] = model.width
    construct = getattr(keras.applications, application.constructor)
    if not arguments["weights"]:
        return construct(**arguments)
    network = fetch(construct, arguments, model, application)
    if application.imagenet is not None:
        check_content(network, model, application, size)
    return network


def scale_pixels(images: Any, pixels: PixelScale) -> Any:
    """Add the layers that scale uint8 pixels to the values with which the network was trained.

    images: a Keras tensor uint8 [N, H, W, 3]. pixels: the name of the scaling, see `Application`.
    Returns a Keras tensor float32 [N, H, W, 3].
    """
    from keras import layers

    if pixels == "signed":
        return layers.Rescaling(1 / 127.5, -1.0, name="scale")(images)
    # This layer multiplies by 1, so it only converts uint8 to floating point.
    floats = layers.Rescaling(1.0, name="scale")(images)
    if pixels == "imagenet":  # Keras uses the same numbers in its mode `torch`.
        means = [255 * mean for mean in (0.485, 0.456, 0.406)]
        variances = [(255 * deviation) ** 2 for deviation in (0.229, 0.224, 0.225)]
        return layers.Normalization(mean=means, variance=variances, name="normalize")(floats)
    if pixels == "caffe":
        means = [103.939, 116.779, 123.68]  # the means of blue, green and red in ImageNet
        bgr = floats[..., ::-1]
        return layers.Normalization(mean=means, variance=[1.0] * 3, name="normalize")(bgr)
    return floats
