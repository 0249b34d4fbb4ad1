"""A backbone's name → a network from uint8 pixels to one feature vector per image.

`compact` is a small network that is defined here. All other backbones are Keras applications, which
have ImageNet weights. To add a backbone, add a line to `APPLICATIONS`.
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

    constructor: the name of its function in keras.applications.
    pixels: how uint8 pixels are scaled. `signed`: to the range -1 to 1. `imagenet`: the mean of
    ImageNet is subtracted, and the result is divided by ImageNet's standard deviation. `caffe`: the
    order is changed to BGR, and the mean is subtracted. `included`: no scaling is added, since the
    network has layers for it.
    min_size: the minimum side of the images, in pixels.
    widths: the widths that have ImageNet weights; random weights permit any width. If `widths` is
    empty, the only permitted width is 1.
    sizes: the sides in pixels that have ImageNet weights of their own. Every other size uses the
    weights for 224.
    imagenet: (width, side) → `content_sha256` of the ImageNet weights. None if Keras knows a hash
    of the file, since Keras then checks the file itself.
    """

    constructor: str
    pixels: PixelScale
    min_size: int = 32
    widths: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    imagenet: Mapping[tuple[float, int], str] | None = None


APPLICATIONS = {
    # Keras has no hash of the files of `mobilenet` and `mobilenet_v2`. The hashes here are of the
    # tensors, since the bytes of a file change if it is saved again. If the width or size is not
    # listed, the weights are used without a check, and their sha256 is logged.
    "mobilenet": Application(
        "MobileNet",
        "signed",
        widths=(0.25, 0.5, 0.75, 1.0),
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
    # Keras has hashes of the files of all applications below, so `imagenet` is None.
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

    size: side of the square images in pixels. The check is fast, since it does not import Keras.
    """
    if model.backbone == "compact":
        least = COMPACT_MIN_SIZE
        if model.weights == "imagenet":
            raise UserError(
                "model.backbone: compact has no ImageNet weights; write `weights: none`, or name "
                "another backbone. Received: weights: imagenet"
            )
    elif application := APPLICATIONS.get(model.backbone):
        least = application.min_size
        _check_width(model, application)
    else:
        choices = ", ".join(["compact", *APPLICATIONS])
        raise UserError(f"model.backbone must be one of {choices}. Received: {model.backbone}")
    if size < least:
        raise UserError(
            f"{model.backbone} takes images of {least} pixels or more; raise prepare.size. "
            f"Received: {size}"
        )


def check_imagenet(model: Model, size: int) -> None:
    """Check that Keras' cache has the backbone's ImageNet weights; download them if not.

    Raises UserError if the weights cannot be downloaded or are not the published ones, or if
    `check_backbone` raises it.
    """
    build_backbone(model, size)


def build_backbone(model: Model, size: int) -> Any:
    """Build a keras.Model named `backbone` from pixels to features.

    It maps uint8 [N, size, size, 3] to float32 [N, features], and includes pixel scaling and
    average pooling. It has ImageNet weights if `model.weights` is `imagenet`, else random weights.
    Raises UserError if `check_backbone` raises it, or if the ImageNet weights cannot be downloaded
    or are not the published ones.
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


def _check_width(model: Model, application: Application) -> None:
    imagenet = model.weights == "imagenet"
    if (application.widths or model.width == 1) and not (
        imagenet and application.widths and model.width not in application.widths
    ):
        return
    choices = ", ".join(map(str, application.widths or (1.0,)))
    why = " with ImageNet weights" if application.widths else ""
    raise UserError(
        f"model.width of {model.backbone}{why} must be one of {choices}. Received: {model.width}"
    )


def _application(model: Model, application: Application, size: int) -> Any:
    """Call the constructor of the Keras application, and check the ImageNet weights."""
    import keras

    arguments: dict[str, Any] = {
        "include_top": False,
        "input_shape": (size, size, 3),
        "pooling": "avg",
        "weights": "imagenet" if model.weights == "imagenet" else None,
    }  # No `name` here, since Keras uses the default name to find block arguments and weights.
    if application.widths:
        arguments["alpha"] = model.width
    construct = getattr(keras.applications, application.constructor)
    if not arguments["weights"]:
        return construct(**arguments)
    network = _fetched(construct, arguments)
    if application.imagenet is not None:
        _check_content(network, model, application, size)
    return network


def _check_content(network: Any, model: Model, application: Application, size: int) -> None:
    """Raise UserError if the ImageNet weights have another sha256 than in `APPLICATIONS`."""
    actual = content_sha256(network)
    trained_on = size if size in application.sizes else 224
    expected = (application.imagenet or {}).get((model.width, trained_on))
    if expected is None:
        log.info(
            f"the ImageNet weights of {model.backbone} of width {model.width} for {trained_on} px "
            f"are not checked, since their published sha256 is not known; their sha256 is {actual}"
        )
    elif actual != expected:
        raise UserError(
            f"the ImageNet weights of {model.backbone} of width {model.width} are not the "
            f"published ones: their sha256 is {actual}, and should be {expected}; remove the file, "
            f"so that Keras downloads it again. Received: a file in {_keras_folder()}"
        )


def content_sha256(network: Any) -> str:
    """Return the sha256 (64 hex digits) of the names, shapes and float32 bytes of all tensors.

    network: a keras.Model. The sha256 does not depend on the file that the weights were read from.
    """
    digest = hashlib.sha256()
    for weight in network.weights:
        values = np.ascontiguousarray(weight.numpy(), "<f4")
        digest.update(f"{weight.path} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _keras_folder() -> Path:
    return Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"


def _fetched(construct: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Construct the application with ImageNet weights, from Keras' cache or by a download."""
    import socket

    timeout_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # Keras sets no timeout, so without a network it would hang.
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
            f"downloaded; put the file into the cache, or write `weights: none`. "
            f"Looked for: {looked_for}"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout_s)


def scale_pixels(images: Any, pixels: PixelScale) -> Any:
    """Add the layers that scale uint8 pixels like the pixels that the network was trained on.

    images: a Keras tensor uint8 [N, H, W, 3]. Returns float32 of the same shape.
    """
    from keras import layers

    if pixels == "signed":
        return layers.Rescaling(1 / 127.5, -1.0, name="scale")(images)
    # A scale of 1 changes no value, but converts uint8 to the float type of the network.
    floats = layers.Rescaling(1.0, name="scale")(images)
    if pixels == "imagenet":  # Mean and deviation are from mode `torch` of Keras.
        means = [255 * mean for mean in (0.485, 0.456, 0.406)]
        variances = [(255 * deviation) ** 2 for deviation in (0.229, 0.224, 0.225)]
        return layers.Normalization(mean=means, variance=variances, name="normalize")(floats)
    if pixels == "caffe":
        means = [103.939, 116.779, 123.68]  # ImageNet's means of blue, green and red
        bgr = floats[..., ::-1]
        return layers.Normalization(mean=means, variance=[1.0] * 3, name="normalize")(bgr)
    return floats


def _compact(pixels: Any, width: float) -> Any:
    """Add a residual CNN for small images: 3 stages of 2 pre-activation blocks (He et al., 2016).

    The stages have 24, 48 and 96 channels, times width, and at least 8. The second and third stage
    halve the resolution. Returns a Keras tensor float32 [N, channels of the last stage].
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
