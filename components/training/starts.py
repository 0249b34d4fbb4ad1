"""Hyperparameters and data → the classifier with which a training starts.

Building a backbone takes longer than training a head on stored features. A head is trained without
any change of its backbone, so a process that trains many heads builds each backbone once.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.model.backbones import build_backbone
from components.model.backend import seeded
from components.model.classifier import Classifier, build_on, origin_of
from components.model.model_file import model_id, read_classifier
from components.model.warm_start import warm_backbone, warm_head
from components.params.hyperparameters import Hyperparameters
from components.training_set.examples import Data

MOST_BACKBONES = 4  # that a process keeps; a search may choose among backbones


@dataclass(frozen=True)
class _Built:
    """A backbone; the classifier and id of the file with its weights, if there is one; and the
    state of the random numbers after it was built.
    """

    backbone: Any
    source: Classifier | None
    source_id: str
    state: Any


@dataclass
class Backbones:
    """The backbones that the trainings of a process have built, the newest last.

    They must not be changed, so only trainings without the phase `finetune` share them.
    """

    built: dict[tuple[Any, ...], _Built] = field(default_factory=dict)


def start_classifier(
    hyperparameters: Hyperparameters,
    data: Data,
    weights: Path | None,
    backbones: Backbones | None = None,
) -> Classifier:
    """Build the classifier with which a training starts; see `train_classifier`.

    backbones: those of earlier calls. The classifier has the same weights with and without them,
    bit for bit: the random numbers of its head go on where those of its backbone end.
    `load_keras` must have been called before.
    """
    model, seed = hyperparameters.model, hyperparameters.train.seed
    if backbones is None or hyperparameters.train.finetune.epochs:
        backbones = Backbones()
    known = backbones.built
    key = (model.backbone, model.width, model.pooling, model.weights, weights, data.size, seed)
    with seeded(seed) as generator:
        built = known.pop(key, None)
        if built is None:
            source = read_classifier(weights) if weights else None
            backbone = (
                warm_backbone(model, data.size, source)
                if source
                else build_backbone(model, data.size)
            )
            identity = model_id(weights) if weights else ""
            built = _Built(backbone, source, identity, generator.getstate())
        known[key] = built
        for old in list(known)[:-MOST_BACKBONES]:
            del known[old]
        generator.setstate(built.state)
        head = (built.backbone, model, data.class_names, data.resize)
        if built.source:
            classifier = warm_head(*head, built.source, built.source_id)
        else:
            classifier = build_on(*head, origin_of(model))
    return replace(classifier, sixteen_bit=data.sixteen_bit, decode=data.decode)
