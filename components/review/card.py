"""A model, its data and its figures → a model card in Markdown.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (2019), with those that
Fovea knows nothing about left to the people who use the model: params.yaml has a key for each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.interval import Interval, Ints, counted_interval
from components.evaluation.scores import count_scores
from components.evaluation.slices import Slice
from components.pages.markdown import table, text
from components.params.register import Card, Floors
from components.review.facts import ModelFacts
from components.review.figures import LONGEST_SLICE, interval_text, slice_text
from components.review.lineage import UNKNOWN, lineage_lines
from components.words import count_text, number_text

CLASSES_SHOWN = 100  # classes in a table
SLICES_SHOWN = 10
FEW_IMAGES = 30  # a class with fewer test images has a wide interval, which the card says
UNWRITTEN = "Nobody has written this yet. Write it below `register.card.{key}` in params.yaml."


@dataclass(frozen=True)
class CardFacts:
    """What a model card says beside the facts of the model.

    size: the side of the model's input, in pixels. counts: split → class → number of images.
    class_names: the names of the C classes. labels, predicted: int [N], the label and the predicted
    class of each test image, as indices into class_names. seen: how many test images the model has
    seen, because the weights that it started from were trained on them. confidence: the level of
    the intervals. slices: the slices of the test images on which the model is surely weak; None if
    they are not known. floors: the minimum scores of the gate. written: a person's texts of
    params.yaml.
    """

    size: int
    counts: Mapping[str, Mapping[str, int]]
    class_names: Sequence[str]
    labels: Ints
    predicted: Ints
    seen: int
    confidence: float
    slices: Sequence[Slice] | None
    floors: Floors
    written: Card


def model_card(model: ModelFacts, facts: CardFacts) -> str:
    """Return the model card. Equal arguments give equal text."""
    sections = {
        "Model": _model(model, facts),
        "Intended use": [_written("intended_use", facts.written.intended_use)],
        "Data": _data(facts),
        "Training": _training(model),
        "Figures": _figures(facts),
        "Limits": [_written("limits", facts.written.limits), *_known_limits(facts)],
    }
    parts = [f"# Model card: {text(model.title)}"]
    for title, paragraphs in sections.items():
        parts += [f"## {title}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def _model(model: ModelFacts, facts: CardFacts) -> list[str]:
    names = ", ".join(text(name) for name in facts.class_names[:CLASSES_SHOWN])
    backbone = model.params.get("model.backbone")
    kind = f"A network ({text(backbone)})" if backbone else "A network"
    return [
        f"{kind} that takes an RGB image of {facts.size} × {facts.size} pixels (uint8; the "
        f"normalisation is a part of the model) and gives a probability for each of "
        f"{count_text(len(facts.class_names), 'class', 'classes')}: {names}"
        f"{_more(len(facts.class_names) - CLASSES_SHOWN)}.",
        f"sha256 of the model file: {model.model_id}",
    ]


def _data(facts: CardFacts) -> list[str]:
    splits = list(facts.counts)
    totals = dict.fromkeys(facts.class_names, 0)
    for counts in facts.counts.values():
        for name, images in counts.items():
            totals[name] = totals.get(name, 0) + images
    sums = ", ".join(
        f"{number_text(sum(counts.values()))} in {split}" for split, counts in facts.counts.items()
    )
    # The rare classes say most about what a model may not have learned.
    rare = sorted(totals, key=lambda name: (totals[name], name))
    rows = [
        [text(name), *(number_text(facts.counts[split].get(name, 0)) for split in splits)]
        for name in rare[:CLASSES_SHOWN]
    ]
    return [
        f"{count_text(sum(totals.values()), 'image')}: {sums}. The model learns from train. The "
        "images of val decide when the training stops. The figures below are of test. The rarest "
        "class comes first.",
        table(["class", *splits], rows),
        *_left_out(len(rare)),
    ]


def _training(model: ModelFacts) -> list[str]:
    lines = []
    for line in lineage_lines(model, None):
        items = "".join(f"; {text(item, None)}" for item in line.items)
        lines.append(f"- {line.term}: {text(line.text, None)}{items}")
    return ["\n".join(lines), *_hyperparameters(model)]


def _hyperparameters(model: ModelFacts) -> list[str]:
    if not model.params:
        return [f"The params of the training are {UNKNOWN}."]
    rows = [[text(name), text(value)] for name, value in sorted(model.params.items())]
    return [table(["param", "value"], rows)]


def _figures(facts: CardFacts) -> list[str]:
    labels, predicted, classes = facts.labels, facts.predicted, len(facts.class_names)
    right = int((labels == predicted).sum())
    scores = count_scores(labels, predicted, classes, np.ones((len(labels), 1)))
    percent = f"{100 * facts.confidence:g} %"
    overall = [
        ["accuracy", interval_text(counted_interval(right, len(labels), facts.confidence))],
        ["balanced accuracy", f"{scores['balanced_accuracy'][0]:.3f}"],
        ["macro F1", f"{scores['macro_f1'][0]:.3f}"],
    ]
    recalls = sorted(_recalls(facts), key=lambda row: (row[2].value is None, row[2].value or 0))
    rows = [
        [text(name), number_text(images), interval_text(recall)]
        for name, images, recall in recalls[:CLASSES_SHOWN]
    ]
    note = (
        f"On {count_text(len(labels), 'test image')}. The accuracy and the recalls have {percent} "
        "intervals (Wilson, 1927). The class with the lowest recall comes first."
    )
    if facts.seen:
        were = "was" if facts.seen == 1 else "were"
        note += (
            f" {number_text(facts.seen)} of them {were} in the training of the weights that it "
            "started from, as the image itself or as a copy, so the figures may be too good."
        )
    return [
        note,
        table(["metric", "value"], overall),
        table(["class", "test images", "recall"], rows),
        *_left_out(len(recalls)),
    ]


def _recalls(facts: CardFacts) -> Iterator[tuple[str, int, Interval]]:
    classes = len(facts.class_names)
    support = np.bincount(facts.labels, minlength=classes)
    hits = np.bincount(facts.labels[facts.labels == facts.predicted], minlength=classes)
    for name, images, right in zip(facts.class_names, support, hits, strict=True):
        yield name, int(images), counted_interval(int(right), int(images), facts.confidence)


def _known_limits(facts: CardFacts) -> list[str]:
    """Return the limits that follow from the data and the method alone."""
    recalls = list(_recalls(facts))
    few = [name for name, images, _ in recalls if images < FEW_IMAGES]
    limits = [
        "The figures hold for images from the same source as the test images. For another camera, "
        "place or time they say nothing.",
        "Each image gets one of the classes above, also an image that shows none of them.",
    ]
    if few:
        shown = ", ".join(text(name) for name in few[:CLASSES_SHOWN])
        limits.append(
            f"Fewer than {FEW_IMAGES} test images, so the recall is known roughly: {shown}"
            f"{_more(len(few) - CLASSES_SHOWN)}."
        )
    limits += [
        f"Surely weaker on this part of the test images: "
        f"{text(slice_text(found), LONGEST_SLICE)}, accuracy {interval_text(found.accuracy)}."
        for found in (facts.slices or ())[:SLICES_SHOWN]
    ]
    floors = facts.floors
    limits.append(
        f"The gate rejects a model with an accuracy below {floors.accuracy:g}, a balanced accuracy "
        f"below {floors.balanced_accuracy:g}, or a recall of a class below {floors.recall:g}."
    )
    return ["\n".join(f"- {limit}" for limit in limits)]


def _written(key: str, words: str) -> str:
    """Return what a person wrote, as it is, or that nobody has written it."""
    return words.strip() or UNWRITTEN.format(key=key)


def _left_out(classes: int) -> list[str]:
    hidden = classes - CLASSES_SHOWN
    return [f"{count_text(hidden, 'more class', 'more classes')}, left out."] if hidden > 0 else []


def _more(hidden: int) -> str:
    return f" and {hidden} more" if hidden > 0 else ""
