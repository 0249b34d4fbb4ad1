"""One backbone of each family. The others of a family have the same layers, more or wider ones."""

import os

from components.model.applications import APPLICATIONS

FAMILIES = (
    *("compact", "mobilenet", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"),
    *("efficientnet_v2_b0", "convnext_tiny", "densenet121", "resnet50", "resnet50_v2", "vgg16"),
    *("nasnet_mobile", "xception", "inception_v3", "inception_resnet_v2"),
)
EVERY = ("compact", *APPLICATIONS)
# What long tests build; FOVEA_BACKBONES=all is for an upgrade of Keras.
TRIED = EVERY if os.environ.get("FOVEA_BACKBONES") == "all" else FAMILIES
