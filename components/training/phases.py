"""A classifier and data → the phases of its training.

The method is LP-FT (Kumar et al., 2022). The first phase trains the head on features of the frozen
backbone. The second phase trains the head and the upper layers of the backbone, with a small
learning rate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.model.classifier import Classifier, leaf_layers
from components.model.features import frozen_features
from components.params.train import Train
from components.training.augmentation import Augment, build_augmentation
from components.training_set.examples import Data, Examples


@dataclass(frozen=True)
class Phase:
    """A part of training: a network that returns logits, its examples, and its learning rate.

    warmup: share of the steps, from 0 to 1, in which the learning rate rises.
    augment: None if the inputs of the network are features.
    """

    name: str
    model: Any
    train: Examples
    val: Examples
    epochs: int
    learning_rate: float
    warmup: float
    augment: Augment | None


def phases(
    classifier: Classifier, data: Data, train: Train, pretrained: bool, cache: Path
) -> Iterator[Phase]:
    """Yield the phases. Train each phase before taking the next from the iterator.

    Taking the next phase changes which layers are frozen.
    pretrained: the backbone has trained weights. cache: the folder for features of the backbone.
    """
    head, finetune = train.head, train.finetune
    if pretrained and head.epochs:
        seen = frozen_features(classifier, data.train, f"{data.content}/train", cache)
        held_out = frozen_features(classifier, data.val, f"{data.content}/val", cache)
        rate = head.learning_rate
        yield Phase("head", classifier.head, seen, held_out, head.epochs, rate, 0.0, None)
    if finetune.epochs:
        freeze(classifier.backbone, finetune.unfreeze, hold_normalization=pretrained)
        augment = build_augmentation(train.augmentation)
        rate, warmup = finetune.learning_rate, finetune.warmup
        model = classifier.logits_model
        yield Phase("finetune", model, data.train, data.val, finetune.epochs, rate, warmup, augment)


def freeze(backbone: Any, unfreeze: float, hold_normalization: bool) -> None:
    """Make the upper layers of the backbone trainable, and freeze all its other layers.

    unfreeze: the trainable share of the layers with weights, from 0 to 1.
    hold_normalization: freeze every BatchNormalization layer, so that it is in inference mode.
    Otherwise the statistics of small batches would replace the statistics of pretraining, which
    come from millions of images.
    """
    layers = [layer for layer in leaf_layers(backbone) if layer.weights]
    first = round(len(layers) * (1 - unfreeze))
    for position, layer in enumerate(layers):
        hold = hold_normalization and type(layer).__name__ == "BatchNormalization"
        layer.trainable = position >= first and not hold
