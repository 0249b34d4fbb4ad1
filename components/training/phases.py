"""Classifier and data → the phases in which it is trained.

LP-FT (Kumar et al., 2022): the head on features of the frozen backbone, then the upper share of the
backbone together with the head at a small rate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.model.classifier import Classifier, leaves
from components.model.features import frozen_features
from components.params.train import Train
from components.training.augmentation import Augment, build_augmentation
from components.training_set.examples import Data, Examples


@dataclass(frozen=True)
class Phase:
    """A part of training: a network that ends in logits, what it sees, and how fast it learns.

    augment: None where the inputs are features. warmup: share of the steps in which the rate rises.
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
    """Yield the phases; a generator, since features and freezing must wait for their turn."""
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
    """Make the upper share `unfreeze` of the layers with weights trainable, and no other.

    hold_normalization: keep BatchNormalization frozen, which holds it in inference mode: statistics
    of small batches would ruin what it learned on millions of images.
    """
    layers = [layer for layer in leaves(backbone) if layer.weights]
    first = round(len(layers) * (1 - unfreeze))
    for position, layer in enumerate(layers):
        held = hold_normalization and type(layer).__name__ == "BatchNormalization"
        layer.trainable = position >= first and not held
