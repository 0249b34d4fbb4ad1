"""Classifier and data → the phases in which it is trained.

LP-FT (Kumar et al., 2022): first the head, on features of the frozen backbone; then the head and
the upper layers of the backbone, with a small learning rate.
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
    """A part of training: a network that gives logits, its examples, and its learning rate.

    augment: None if the inputs are features. warmup: share of the steps in which the learning rate
    rises.
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
    """Yield the phases. Run a phase before the next is drawn, which sets what is frozen."""
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
    """Make the upper share `unfreeze` of the layers with weights trainable, and freeze the others.

    hold_normalization: keep BatchNormalization frozen, so that it is in inference mode. Otherwise
    the statistics of small batches replace those of the millions of images of pretraining.
    """
    layers = [layer for layer in leaf_layers(backbone) if layer.weights]
    first = round(len(layers) * (1 - unfreeze))
    for position, layer in enumerate(layers):
        hold = hold_normalization and type(layer).__name__ == "BatchNormalization"
        layer.trainable = position >= first and not hold
