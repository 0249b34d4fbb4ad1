"""A classifier and data → the phases of its training.

The method is LP-FT, linear probing and then fine-tuning (Kumar et al., 2022). A classifier consists
of a backbone, which computes features from the pixels, and a head, which computes the logits from
the features. The first phase trains only the head. In this phase the backbone is frozen, so its
weights do not change. The second phase trains the head and the last layers of the backbone
together.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.model.classifier import Classifier, leaf_layers
from components.model.features import FrozenBackbone
from components.params.train import Train
from components.training.augmentation import Policy, build_augmentation
from components.training.smote import with_synthetic
from components.training.views import build_views
from components.training_set.examples import Data, Examples


@dataclass(frozen=True)
class Phase:
    """A phase of training.

    name: the name of the phase, `head` or `finetune`.
    model: the keras.Model to train. The outputs of this model are logits float32 [N, num_classes].
    train, val: the examples of the splits train and val. The inputs of the phase `head` are
        features float32 [N, D]; in train, every image has `variants` of them. The inputs of
        `finetune` are images uint8 [N, size, size, 3].
    epochs: the maximum number of epochs.
    learning_rate: the highest learning rate of the phase.
    warmup: the share of the steps, 0 to 1, in which the learning rate rises.
    policy: the random changes of the training images; None in the phase `head`.
    in_memory: True if the training examples are small enough to lie on the device, as features are.
    variants: the number of variants of each image in train, see `Stream`.
    state: Keras variables that training changes, beside those of the classifier and the optimizer.
        Checkpoints contain them.
    """

    name: str
    model: Any
    train: Examples
    val: Examples
    epochs: int
    learning_rate: float
    warmup: float
    policy: Policy | None
    in_memory: bool
    variants: int = 1
    state: tuple[Any, ...] = ()


def phases(
    classifier: Classifier,
    data: Data,
    train: Train,
    pretrained: bool,
    cache: Path,
    finished: Container[str],
) -> Iterator[Phase]:
    """Yield the phases `head` and `finetune`. A phase without epochs is left out.

    The caller must finish the training of a phase before it takes the next phase from the iterator.
    The reason is that the iterator changes which layers are frozen before it yields the phase
    `finetune`.
    classifier: the classifier to train. data: the images and labels. train: the section `train` of
    params.yaml. pretrained: True if the backbone has trained weights, False if its weights are
    random; then the phase `head` is left out. cache: the folder for the features of the frozen
    backbone. finished: the names of phases that are left out, because they are over already.
    """
    head, finetune = train.head, train.finetune
    if pretrained and head.epochs and "head" not in finished:
        # No variable of this function has the features, so they are freed after the phase.
        yield _head_phase(classifier, data, train, cache)
    if finetune.epochs:
        # Also after the phase, because the model file says which layers are frozen.
        freeze(classifier.backbone, finetune.unfreeze, hold_normalization=pretrained)
    if finetune.epochs and "finetune" not in finished:
        policy = build_augmentation(train.augmentation)
        rate, warmup = finetune.learning_rate, finetune.warmup
        model, images = classifier.logits_model, (data.train, data.val)
        yield Phase("finetune", model, *images, finetune.epochs, rate, warmup, policy, False)


def _head_phase(classifier: Classifier, data: Data, train: Train, cache: Path) -> Phase:
    head, views, frozen = train.head, build_views(train), FrozenBackbone(classifier, cache)
    variants = views.count + 1 if views else 1
    examples = frozen.features(data.train, views)
    if data.balance.strategy == "smote":
        examples = with_synthetic(examples, data.balance.targets, variants, train.seed)
    return Phase(
        name="head",
        model=classifier.head,
        train=examples,
        val=frozen.features(data.val),
        epochs=head.epochs,
        learning_rate=head.learning_rate,
        warmup=0.0,
        policy=None,
        in_memory=True,
        variants=variants,
    )


def freeze(backbone: Any, unfreeze: float, hold_normalization: bool) -> None:
    """Make the last layers of the backbone trainable, and freeze all its other layers.

    backbone: a keras.Model. unfreeze: the share of the layers that become trainable, 0 to 1. The
    layers nearest to the output are chosen, and only layers with weights are counted.
    hold_normalization: True if every BatchNormalization layer must be frozen. A frozen layer of
    this type uses the mean and the variance of pretraining, which come from many images. A
    trainable layer would use the mean and the variance of small batches instead.
    """
    layers = [layer for layer in leaf_layers(backbone) if layer.weights]
    first = round(len(layers) * (1 - unfreeze))
    for position, layer in enumerate(layers):
        hold = hold_normalization and type(layer).__name__ == "BatchNormalization"
        layer.trainable = position >= first and not hold
