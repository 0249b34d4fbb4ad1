"""Pixels → the maps of `compact`, a small residual network for small images."""

from typing import Any


def compact(pixels: Any, width: float) -> Any:
    """Add the layers of `compact`, a residual network for small images.

    The network has 3 stages of 2 pre-activation blocks (He et al., 2016). With width 1 the stages
    have 24, 48 and 96 channels. Another width multiplies these numbers, but a stage has at least 8
    channels. The second and the third stage each halve the height and the width of the image.

    pixels: a Keras tensor float32 [N, H, W, 3]. width: the factor on the numbers of channels.
    Returns the maps, a Keras tensor float32 [N, h, w, C]; C is the number of channels of the last
    stage.
    """
    from keras import layers

    channels = [max(8, round(base * width)) for base in (24, 48, 96)]
    hidden = layers.Conv2D(channels[0], 3, padding="same", use_bias=False, name="stem")(pixels)
    for stage, filters in enumerate(channels, start=1):
        for block in (1, 2):
            stride = 2 if stage > 1 and block == 1 else 1
            hidden = _residual(hidden, filters, stride, f"stage{stage}_block{block}")
    hidden = layers.BatchNormalization(momentum=0.9, name="last_norm")(hidden)
    return layers.ReLU(name="last_relu")(hidden)


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
