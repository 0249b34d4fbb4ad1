"""The name of a backbone → how many blocks it has, and what replaces a share of its layers.

components/training/blocks.py says what a block is. The numbers stand here, too, so that params are
checked before Keras starts; a test compares them with the networks.
"""

import math
from collections.abc import Mapping
from typing import Any

BLOCKS = {
    "compact": 7,
    "mobilenet": 14,
    "mobilenet_v2": 18,
    "mobilenet_v3_small": 12,
    "mobilenet_v3_large": 16,
    "efficientnet_b0": 17,
    "efficientnet_b1": 24,
    "efficientnet_b2": 24,
    "efficientnet_b3": 27,
    "efficientnet_b4": 33,
    "efficientnet_b5": 40,
    "efficientnet_b6": 46,
    "efficientnet_b7": 56,
    "efficientnet_v2_b0": 22,
    "efficientnet_v2_b1": 28,
    "efficientnet_v2_b2": 29,
    "efficientnet_v2_b3": 33,
    "efficientnet_v2_s": 41,
    "efficientnet_v2_m": 58,
    "efficientnet_v2_l": 80,
    "convnext_tiny": 19,
    "convnext_small": 37,
    "convnext_base": 37,
    "convnext_large": 37,
    "densenet121": 59,
    "densenet169": 83,
    "densenet201": 99,
    "resnet50": 17,
    "resnet101": 34,
    "resnet152": 51,
    "resnet50_v2": 17,
    "resnet101_v2": 34,
    "resnet152_v2": 51,
    "vgg16": 5,
    "vgg19": 5,
    "xception": 14,
    "inception_v3": 11,
    "inception_resnet_v2": 42,
    "nasnet_mobile": 17,
}


def check_old_share(tree: Any) -> None:
    """Raise ValueError if `train.finetune.unfreeze` is a share, as in older files.

    tree: the content of params.yaml. The sentence has the new form with the nearest value.
    """
    try:
        share = tree["train"]["finetune"]["unfreeze"]
    except (KeyError, TypeError):
        return
    if isinstance(share, bool) or not isinstance(share, int | float) or not math.isfinite(share):
        return
    if share > 1 or (share == 1 and isinstance(share, int)):  # a number of blocks
        whole = ", or `all` for the whole backbone" if share == 1 else ""
        raise ValueError(
            "train.finetune.unfreeze should be none, all, or {last_blocks: 3}; write "
            f"`unfreeze: {{last_blocks: {max(1, round(share))}}}`{whole}. Received: {share}"
        )
    raise ValueError(
        "train.finetune.unfreeze is now none, all, or {last_blocks: 3} for the three blocks "
        f"nearest to the output; write `unfreeze: {_nearest(share, tree)}`. Received: {share}"
    )


def _nearest(share: float, tree: Mapping[str, Any]) -> str:
    """Return the form that unfreezes about this share of the backbone.

    >>> _nearest(1.0, {}), _nearest(0.0, {}), _nearest(0.3, {"model": {"backbone": "resnet50"}})
    ('all', 'none', '{last_blocks: 5}')
    """
    if share <= 0 or share >= 1:
        return "all" if share >= 1 else "none"
    model = tree.get("model")
    name = model.get("backbone") if isinstance(model, Mapping) else None
    return f"{{last_blocks: {max(1, round(share * BLOCKS.get(str(name), BLOCKS['resnet50'])))}}}"
