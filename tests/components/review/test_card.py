import re
from dataclasses import replace

import mistune
import numpy as np
import pytest

from components.params.register import Card, Floors
from components.review.card import CLASSES_SHOWN, SLICES_SHOWN, CardFacts, model_card
from tests.components.review.judged import HOSTILE, model, weak

FLOORS = Floors(accuracy=0.8, balanced_accuracy=0.8, recall=0.5)


def facts(names=("glass", "paper"), intended_use="", limits=""):
    labels = np.arange(len(names) * 40) % len(names)
    predicted = np.where(
        np.arange(len(labels)) < len(names), 0, labels
    )  # one of each is `names[0]`
    counts = {split: dict.fromkeys(names, 7) for split in ("train", "val", "test")}
    written = Card(intended_use=intended_use, limits=limits)
    return CardFacts(28, counts, names, labels, predicted, 0, 0.95, None, FLOORS, written)


def sections(text):
    return dict(re.findall(r"^## (.+?)\n\n(.*?)(?=\n\n## |\Z)", text, re.DOTALL | re.MULTILINE))


def test_the_card_has_the_sections_and_is_filled_from_what_is_known():
    card = model_card(model(2, **{"model.backbone": "compact"}), facts())
    assert card.startswith("# Model card: version 2 of digits\n")
    found = sections(card)
    assert list(found) == ["Model", "Intended use", "Data", "Training", "Figures", "Limits"]
    assert "A network (compact) that takes an RGB image of 28 × 28 pixels" in found["Model"]
    assert "42 images: 14 in train, 14 in val, 14 in test" in found["Data"]
    assert "- Code: commit cccccccccccc of 2026-11-20" in found["Training"]
    assert "| accuracy | 0.988 (0.933 – 0.998) |" in found["Figures"]
    assert "| paper | 40 | 0.975 (" in found["Figures"]
    assert "an accuracy below 0.8, a balanced accuracy below 0.8, or a recall" in found["Limits"]


def test_what_nobody_has_written_is_said_with_the_place_to_write_it():
    found = sections(model_card(model(2), facts()))
    for title, key in (("Intended use", "intended_use"), ("Limits", "limits")):
        assert found[title].startswith(
            f"Nobody has written this yet. Write it below `register.card.{key}`"
        )


def test_what_a_person_writes_stands_as_it_is():
    words = "Sorts waste in **hall 2**.\n\n- not for wet glass"
    found = sections(model_card(model(2), facts(intended_use=words, limits=words)))
    assert found["Intended use"] == words
    assert found["Limits"].startswith(words)
    assert "Nobody" not in found["Limits"]


def test_classes_with_few_test_images_are_a_limit():
    about = facts()
    few = replace(about, labels=about.labels[:20], predicted=about.predicted[:20])
    assert "recall is known roughly: glass, paper." in model_card(model(2), few)
    assert "known roughly" not in model_card(model(2), about)


def test_weak_slices_are_a_limit_and_many_are_bounded():
    slices = [weak(name * 20) for name in (*HOSTILE, *HOSTILE)]
    card = sections(model_card(model(2), replace(facts(), slices=slices)))["Limits"]
    assert card.count("Surely weaker on this part") == SLICES_SHOWN
    assert "accuracy 0.500 (0.350 – 0.650)" in card
    assert "<script>" not in card
    assert "Surely weaker" not in model_card(model(2), replace(facts(), slices=[]))


def test_test_images_that_the_start_has_seen_are_named():
    assert "3 of them were in the training of the weights" in model_card(
        model(2), replace(facts(), seen=3)
    )
    assert "1 of them was in the training" in model_card(model(2), replace(facts(), seen=1))
    assert "in the training of the weights" not in model_card(model(2), facts())


def test_a_class_without_test_images_has_no_recall():
    about = facts()
    kept = about.labels == 0
    card = model_card(
        model(2), replace(about, labels=about.labels[kept], predicted=np.zeros(40, int))
    )
    assert "| paper | 0 | – |" in card


@pytest.mark.parametrize("names", [HOSTILE, [f"{n} {HOSTILE[0]}" for n in range(150)]])
def test_hostile_names_are_text_and_many_classes_are_bounded(names):
    card = model_card(model(2), facts(tuple(names)))
    shown = str(mistune.create_markdown(plugins=["table"], escape=False)(card))
    allowed = {"h1", "h2", "p", "ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(re.findall(r"<(\w+)", shown)) <= allowed
    assert len(re.findall(r"<h2>", shown)) == 6
    assert ("50 more classes, left out." in card) == (len(names) > CLASSES_SHOWN)
    assert card == model_card(model(2), facts(tuple(names)))


def test_rare_classes_and_low_recalls_come_first():
    about = facts(("glass", "metal", "paper"))
    counts = {split: {"glass": 9, "metal": 5, "paper": 7} for split in ("train", "test")}
    predicted = about.labels.copy()
    predicted[np.flatnonzero(predicted == 2)[:30]] = 0
    predicted[np.flatnonzero(predicted == 0)[:10]] = 1
    found = sections(model_card(model(2), replace(about, counts=counts, predicted=predicted)))

    def names(text):
        return re.findall(r"^\| (glass|metal|paper) \|", text, re.MULTILINE)

    assert names(found["Data"]) == ["metal", "paper", "glass"]
    assert names(found["Figures"]) == ["paper", "glass", "metal"]


@pytest.mark.parametrize(("images", "few"), [(29, True), (30, False)])
def test_thirty_test_images_are_not_few(images, few):
    labels = np.repeat([0, 1], [40, images])
    card = model_card(model(2), replace(facts(), labels=labels, predicted=labels))
    assert ("known roughly: paper." in card) == few
