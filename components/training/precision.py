"""A classifier and `train.precision` → the classifier, computing in bfloat16 while it is trained.

With `mixed`, the backbone computes in bfloat16, which a GPU does several times faster than float32
(Micikevicius et al., 2018). The weights, the features that leave the backbone, the logits, the loss
and the optimizer stay float32. bfloat16 has the range of float32, so the loss needs no scaling.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from components.model.classifier import Classifier, leaf_layers
from components.model.pooling import POOLING_LAYERS


@contextmanager
def trained_in(precision: Literal["float32", "mixed"], classifier: Classifier) -> Iterator[None]:
    """Let the layers of the backbone compute in this precision until the `with` statement ends.

    Afterwards they compute in float32 again. So a saved classifier is the same kind of file with
    either precision, and evaluation and serving need no bfloat16.
    """
    layers = list(leaf_layers(classifier.backbone))
    try:
        if precision == "mixed":
            for layer in layers[:-1]:  # The last layer makes the features.
                if layer.name not in POOLING_LAYERS:
                    layer.dtype_policy = "mixed_bfloat16"
        yield
    finally:
        for layer in layers:
            layer.dtype_policy = "float32"
