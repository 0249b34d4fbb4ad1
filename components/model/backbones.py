"""The name of a backbone → a network that turns the uint8 pixels of an image into a feature vector.

A backbone is the part of a classifier that computes features. The backbone `compact` is a small
network, which is defined in this file and has no ImageNet weights. All other backbones are Keras
applications, and Keras has ImageNet weights for them. To add another Keras application, add a line
to `APPLICATIONS`.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.errors import UserError
from components.model.backend import load_keras
from components.params.model import Model

log = logging.getLogger(__name__)

PixelScale = Literal["signed", "imagenet", "caffe", "included"]
COMPACT_MIN_SIZE = 8


@dataclass(frozen=True)
class Application:
    """A Keras application, and the pixels, image sizes and widths that it accepts.

    constructor: the name of the function in keras.applications that builds the network.
    pixels: the name of the scaling of the uint8 pixels. `signed`: the pixels are scaled to the
        range -1 to 1. `imagenet`: the mean of ImageNet is subtracted from the pixels, and the
        difference is divided by the standard deviation of ImageNet. `caffe`: the order of the
        channels is changed from RGB to BGR, and the mean of ImageNet is subtracted. `included`: the
        network contains layers that scale the pixels, so this module adds no scaling.
    min_size: the minimum side of the images, in pixels.
    widths: the widths for which Keras has ImageNet weights. The width is a factor by which the
        number of channels in each layer is multiplied. With random weights other widths are also
        permitted. If `widths` is empty, the only permitted width is 1, because the network has no
        setting for the width.
    min_width: the minimum width; with a smaller width, a layer would have no channels.
    sizes: the sides of images, in pixels, for which Keras has separate ImageNet weights. Images of
        any other side use the weights for 224 pixels. If `sizes` is empty, Keras has the same
        weights for all sides.
    imagenet: a dict from (width, side) to the sha256 of the ImageNet weights, as the function
        `content_sha256` computes it. The field is None if Keras knows a hash of the weight file,
        because then Keras checks the file.
    """

    constructor: str
    pixels: PixelScale
    min_size: int = 32
    widths: tuple[float, ...] = ()
    min_width: float = 0.0
    sizes: tuple[int, ...] = ()
    imagenet: Mapping[tuple[float, int], str] | None = None


APPLICATIONS = {
    # Keras knows no hash of the weight files of `mobilenet` and `mobilenet_v2`. So the dicts below
    # contain a hash of the tensors. A hash of the file would not help, because files with the same
    # tensors can have different bytes. If a pair of width and side is not in the dict, the
    # weights are used without a check, and the sha256 of their tensors is logged.
    "mobilenet": Application(
        "MobileNet",
        "signed",
        widths=(0.25, 0.5, 0.75, 1.0),
        min_width=1 / 32,  # Its first layer has 32 channels.
        sizes=(128, 160, 192, 224),
        imagenet={
            (0.25, 224): "b4afb8a79babfe44410e03ecb4a4f27c62cb74b4a99e61a49d9f57b3e8d6d237",
        },
    ),
    "mobilenet_v2": Application(
        "MobileNetV2",
        "signed",
        widths=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
        sizes=(96, 128, 160, 192, 224),
        imagenet={
            (0.35, 224): "9e7ca965a72b2b47081e790a79fdcd67bb301c98d2011b8fa10c78c4fff95029",
        },
    ),
    # Keras knows the hashes of the weight files of all applications below, so `imagenet` is None.
    "mobilenet_v3_small": Application("MobileNetV3Small", "included", widths=(0.75, 1.0)),
    "mobilenet_v3_large": Application("MobileNetV3Large", "included", widths=(0.75, 1.0)),
    "efficientnet_b0": Application("EfficientNetB0", "included"),
    "efficientnet_b1": Application("EfficientNetB1", "included"),
    "efficientnet_b2": Application("EfficientNetB2", "included"),
    "efficientnet_b3": Application("EfficientNetB3", "included"),
    "efficientnet_b4": Application("EfficientNetB4", "included"),
    "efficientnet_v2_b0": Application("EfficientNetV2B0", "included"),
    "efficientnet_v2_b1": Application("EfficientNetV2B1", "included"),
    "efficientnet_v2_b2": Application("EfficientNetV2B2", "included"),
    "efficientnet_v2_b3": Application("EfficientNetV2B3", "included"),
    "efficientnet_v2_s": Application("EfficientNetV2S", "included"),
    "efficientnet_v2_m": Application("EfficientNetV2M", "included"),
    "convnext_tiny": Application("ConvNeXtTiny", "included"),
    "convnext_small": Application("ConvNeXtSmall", "included"),
    "convnext_base": Application("ConvNeXtBase", "included"),
    "densenet121": Application("DenseNet121", "imagenet"),
    "densenet169": Application("DenseNet169", "imagenet"),
    "densenet201": Application("DenseNet201", "imagenet"),
    "resnet50": Application("ResNet50", "caffe"),
    "resnet101": Application("ResNet101", "caffe"),
    "resnet152": Application("ResNet152", "caffe"),
    "resnet50_v2": Application("ResNet50V2", "signed"),
    "resnet101_v2": Application("ResNet101V2", "signed"),
    "resnet152_v2": Application("ResNet152V2", "signed"),
    "vgg16": Application("VGG16", "caffe"),
    "vgg19": Application("VGG19", "caffe"),
    "xception": Application("Xception", "signed", min_size=71),
    "inception_v3": Application("InceptionV3", "signed", min_size=75),
    "inception_resnet_v2": Application("InceptionResNetV2", "signed", min_size=75),
}


def check_backbone(model: Model, size: int) -> None:
    """Raise UserError if the backbone is unknown, or does not accept the size, width or weights.

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
        choices = ", ".join(["compact", *APPLICATIONS])
        raise UserError(
            f"{model.place}.backbone must be one of {choices}. Received: {model.backbone}"
        )
    if size < least:
        raise UserError(
            f"{model.backbone} needs images with a side of at least {least} pixels; raise "
            f"{model.size_key}. Received: {size}"
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
    includes the scaling of the pixels and the average pooling. If `model.weights` is `imagenet`,
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
        features = _compact(scale_pixels(images, "signed"), model.width)
    else:
        application = APPLICATIONS[model.backbone]
        network = _application(model, application, size)
        features = network(scale_pixels(images, application.pixels))
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
        "pooling": "avg",
        "weights": "imagenet" if model.weights == "imagenet" else None,
    }  # The argument `name` is not set, because Keras finds some weights by the default name.
    if application.widths:
        arguments["alpha"] = model.width
    construct = getattr(keras.applications, application.constructor)
    if not arguments["weights"]:
        return construct(**arguments)
    network = _fetched(construct, arguments, model)
    if application.imagenet is not None:
        _check_content(network, model, application, size)
    return network


def _check_content(network: Any, model: Model, application: Application, size: int) -> None:
    """Raise UserError if the sha256 of the ImageNet weights differs from `APPLICATIONS`.

    If `APPLICATIONS` has no sha256 for the width and size, only log the sha256 of the weights.
    """
    actual = content_sha256(network)
    trained_on = size if size in application.sizes else 224
    expected = (application.imagenet or {}).get((model.width, trained_on))
    if expected is None:
        log.info(
            f"the ImageNet weights of {model.backbone} of width {model.width} for {trained_on} px "
            "are not checked, because Fovea has no sha256 to compare with; their sha256 is "
            f"{actual}"
        )
    elif actual != expected:
        raise UserError(
            f"the ImageNet weights of {model.backbone} of width {model.width} are not the "
            f"published weights; remove their file from {_keras_folder()}, so that Keras downloads "
            f"it again. Received: sha256 {actual} instead of {expected}"
        )


def content_sha256(network: Any) -> str:
    """Return the sha256 of all weights of a network, as 64 hex digits.

    network: a keras.Model. The hash covers the name, the shape and the float32 bytes of each
    tensor. So equal weights have equal hashes, even if they were read from different files.
    """
    import keras

    digest = hashlib.sha256()
    for weight in network.weights:
        values = np.ascontiguousarray(keras.ops.convert_to_numpy(weight), "<f4")
        digest.update(f"{weight.path} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _keras_folder() -> Path:
    return Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"


def _fetched(construct: Callable[..., Any], arguments: dict[str, Any], model: Model) -> Any:
    """Build the application with ImageNet weights, from Keras' cache or by a download.

    construct: the function of keras.applications. arguments: its keyword arguments. model: the
    section of params.yaml that the error message names.
    Raises UserError if the weights are not in the cache and cannot be downloaded.
    """
    import socket

    timeout_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # in seconds; without this line a download could wait forever
    try:
        return construct(**arguments)
    except Exception as error:
        if not isinstance(error, TimeoutError) and "URL fetch failure" not in str(error):
            raise
        looked_for = _keras_folder()
        if address := re.search(r"https?://\S+/([^/\s:]+)", str(error)):
            looked_for /= address[1]
        raise UserError(
            f"the ImageNet weights of {construct.__name__} are not in Keras' cache and cannot be "
            f"downloaded; put their file into the cache, or write `{model.without_weights}` in the "
            f"section {model.place}. "
            f"Looked for: {looked_for}"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout_s)


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


def _compact(pixels: Any, width: float) -> Any:
    """Add the layers of `compact`, a residual network for small images.

    The network has 3 stages of 2 pre-activation blocks (He et al., 2016). With width 1 the stages
    have 24, 48 and 96 channels. Another width multiplies these numbers, but a stage has at least 8
    channels. The second and the third stage each halve the height and the width of the image.

    pixels: a Keras tensor float32 [N, H, W, 3]. width: the factor on the numbers of channels.
    Returns a Keras tensor float32 [N, C]; C is the number of channels of the last stage.
    """
    from keras import layers

    channels = [max(8, round(base * width)) for base in (24, 48, 96)]
    hidden = layers.Conv2D(channels[0], 3, padding="same", use_bias=False, name="stem")(pixels)
    for stage, filters in enumerate(channels, start=1):
        for block in (1, 2):
            stride = 2 if stage > 1 and block == 1 else 1
            hidden = _residual(hidden, filters, stride, f"stage{stage}_block{block}")
    hidden = layers.BatchNormalization(momentum=0.9, name="last_norm")(hidden)
    hidden = layers.ReLU(name="last_relu")(hidden)
    return layers.GlobalAveragePooling2D(name="pool")(hidden)


def _residual(hidden: Any, filters: int, stride: int, name: str) -> Any:
    from keras import layers

    def convolve(x: Any, step: int, part: str) -> Any:
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm{part}")(x)
        x = layers.ReLU(name=f"{name}_relu{part}")(x)
        return layers.Conv2D(
            filters, 3, step, padding="same", use_bias=False, name=f"{name}_conv{part}"
        )(x)

    changed = convolve(convolve(hidden, stride, "1"), 1, "2")
    if stride > 1 or hidden.shape[-1] != filters:
        hidden = layers.Conv2D(filters, 1, stride, use_bias=False, name=f"{name}_shortcut")(hidden)
    return layers.Add(name=f"{name}_add")([hidden, changed])
