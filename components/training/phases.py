"""A classifier and data → the phases of its training.

The method is LP-FT, linear probing and then fine-tuning (Kumar et al., 2022). A classifier consists
of a backbone, which computes features from the pixels, and a head, which computes the logits from
the features. The first phase trains only the head. In this phase the backbone is frozen, so its
weights do not change. The second phase trains the head together with the blocks of the backbone
that `train.finetune.unfreeze` names.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.model.classifier import Classifier
from components.model.features import FrozenBackbone
from components.params.train import Schedule, Train
from components.training.augmentation import Policy, build_augmentation
from components.training.blocks import freeze
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
    schedule: how the learning rate changes, see `build_schedule`.
    blocks: the trainable variables of each block of the backbone, from output to input.
    stages, layer_decay: which blocks are trained when, and at which rate, see `build_optimizer`.
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
    schedule: Schedule = "cosine"
    blocks: tuple[tuple[Any, ...], ...] = ()
    stages: int = 1
    layer_decay: float = 1.0
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
    params.yaml. pretrained: whether the backbone starts with trained weights. If not, the phase
    `head` is left out, and the phase `finetune` also trains the layers of batch normalisation.
    cache: the folder for the features of the frozen backbone. finished: the names of phases that
    are left out, because they are over already.
    """
    head, finetune = train.head, train.finetune
    if pretrained and head.epochs and "head" not in finished:
        # No variable of this function has the features, so they are freed after the phase.
        yield _head_phase(classifier, data, train, cache)
    if finetune.epochs:
        # Also after the phase, because the model file says which layers are frozen.
        blocks = freeze(classifier.backbone, finetune.unfreeze, hold_normalization=pretrained)
        if "finetune" not in finished:
            yield _finetune_phase(classifier, data, train, blocks)


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


def _finetune_phase(
    classifier: Classifier, data: Data, train: Train, blocks: tuple[tuple[Any, ...], ...]
) -> Phase:
    finetune = train.finetune
    return Phase(
        name="finetune",
        model=classifier.logits_model,
        train=data.train,
        val=data.val,
        epochs=finetune.epochs,
        learning_rate=finetune.learning_rate,
        warmup=finetune.warmup,
        policy=build_augmentation(train.augmentation),
        in_memory=False,
        schedule=finetune.schedule,
        blocks=blocks,
        stages=finetune.stages,
        layer_decay=finetune.layer_decay,
    )
