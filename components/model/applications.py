"""The Keras applications that can be a backbone, and the pixels, sizes and widths that they accept.

To add another Keras application, add a line to `APPLICATIONS`, and run
`python -m pipelines.commands.backbones` to add its parameters and multiply-adds to the table that
`fovea backbones` prints.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PixelScale = Literal["signed", "imagenet", "caffe", "included"]


@dataclass(frozen=True)
class Application:
    """A Keras application, and the pixels, image sizes and widths that it accepts.

    constructor: the name of the function in keras.applications that builds the network.
    pixels: the name of the scaling of the uint8 pixels. `signed`: the pixels are scaled to the
        range -1 to 1. `imagenet`: the mean of ImageNet is subtracted from the pixels, and the
        difference is divided by the standard deviation of ImageNet. `caffe`: the order of the
        channels is changed from RGB to BGR, and the mean of ImageNet is subtracted. `included`: the
        network contains layers that scale the pixels, so no scaling is added.
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
    cached_as: the name of the weight file in Keras' cache. It is empty if the address of the file
        ends in the same name.
    """

    constructor: str
    pixels: PixelScale
    min_size: int = 32
    widths: tuple[float, ...] = ()
    min_width: float = 0.0
    sizes: tuple[int, ...] = ()
    imagenet: Mapping[tuple[float, int], str] | None = None
    cached_as: str = ""


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
    "efficientnet_b5": Application("EfficientNetB5", "included"),
    "efficientnet_b6": Application("EfficientNetB6", "included"),
    "efficientnet_b7": Application("EfficientNetB7", "included"),
    "efficientnet_v2_b0": Application("EfficientNetV2B0", "included"),
    "efficientnet_v2_b1": Application("EfficientNetV2B1", "included"),
    "efficientnet_v2_b2": Application("EfficientNetV2B2", "included"),
    "efficientnet_v2_b3": Application("EfficientNetV2B3", "included"),
    "efficientnet_v2_s": Application("EfficientNetV2S", "included"),
    "efficientnet_v2_m": Application("EfficientNetV2M", "included"),
    "efficientnet_v2_l": Application("EfficientNetV2L", "included"),
    "convnext_tiny": Application("ConvNeXtTiny", "included"),
    "convnext_small": Application("ConvNeXtSmall", "included"),
    "convnext_base": Application("ConvNeXtBase", "included"),
    "convnext_large": Application("ConvNeXtLarge", "included"),
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
    "nasnet_mobile": Application("NASNetMobile", "signed", cached_as="nasnet_mobile_no_top.h5"),
    "xception": Application("Xception", "signed", min_size=71),
    "inception_v3": Application("InceptionV3", "signed", min_size=75),
    "inception_resnet_v2": Application("InceptionResNetV2", "signed", min_size=75),
}
