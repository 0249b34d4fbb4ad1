"""The mistakes that a report explains: chosen, bounded, and each explained once."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from components.explanation.explanation import contact_sheet, explain_images
from components.explanation.grad_cam import GradCam
from components.explanation.mistakes import Amounts, explain_mistakes
from components.explanation.nearest import training_images
from components.explanation.page import Origin, explanation_page
from components.explanation.pictures import feature_maps, overlay
from components.model.classifier import build_classifier
from tests.components.pages.outline import Outline

NAMES = ("glass", "metal", "paper")
# The label, the predicted class and its probability, of each image.
PREDICTIONS = [
    (0, 0, 0.9), (0, 0, 0.8), (0, 0, 0.7), (0, 1, 0.6),  # recall 3/4
    (1, 1, 0.9), (1, 0, 0.95), (1, 0, 0.5), (1, 2, 0.7),  # recall 1/4
    (2, 1, 0.85), (2, 1, 0.4), (2, 1, 0.9), (2, 2, 0.99), (2, 2, 0.5),  # recall 2/5
]  # fmt: skip
LABELS = np.array([label for label, _, _ in PREDICTIONS])
AMOUNTS = Amounts(worst=3, weakest=2, pairs=2, of_pair=2, nearest=2)


def probabilities():
    table = np.zeros((len(PREDICTIONS), 3), np.float32)
    for row, (_, predicted, share) in enumerate(PREDICTIONS):
        table[row] = (1 - share) / 2
        table[row, predicted] = share
    return table


@pytest.fixture(scope="module")
def classifier(params, tiny_backbone):
    import keras

    keras.utils.set_random_seed(3)
    return build_classifier(params.model, NAMES, 16, "squash")


@pytest.fixture(scope="module")
def images():
    shape = (len(PREDICTIONS), 16, 16, 3)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


@pytest.fixture
def train(classifier, images, tmp_path):
    return training_images(classifier, images[::-1], [NAMES[n] for n in LABELS[::-1]], tmp_path)


def test_worst_weakest_and_confused_pairs_are_chosen_and_bounded(classifier, images, train):
    found = explain_mistakes(GradCam(classifier), images, probabilities(), LABELS, train, AMOUNTS)
    assert found.mistakes == 7
    assert [each.row for each in found.worst] == [5, 10, 8]
    assert [each.probability for each in found.worst] == pytest.approx([0.95, 0.9, 0.85])
    assert found.weakest_class == "metal"
    assert [each.row for each in found.weakest] == [5, 7]
    pairs = [(each.label, each.predicted, each.images) for each in found.pairs]
    assert pairs == [("paper", "metal", 3), ("metal", "glass", 2)]
    assert [[each.row for each in pair.explanations] for pair in found.pairs] == [[10, 8], [5, 6]]
    assert (found.layer, found.grid) == ("block2_relu", GradCam(classifier).grid)


def test_of_equally_frequent_pairs_the_first_in_the_order_of_classes_comes_first(
    classifier, images
):
    rows = np.array([5, 10, 3])  # metal → glass, paper → metal, glass → metal: the surest first
    amounts = replace(AMOUNTS, pairs=3)
    args = (images[rows], probabilities()[rows], LABELS[rows])
    found = explain_mistakes(GradCam(classifier), *args, None, amounts)
    pairs = [(each.label, each.predicted, each.images) for each in found.pairs]
    assert pairs == [("glass", "metal", 1), ("metal", "glass", 1), ("paper", "metal", 1)]


def test_an_explanation_has_what_a_page_shows(classifier, images, train):
    found = explain_mistakes(GradCam(classifier), images, probabilities(), LABELS, train, AMOUNTS)
    worst = found.worst[0]
    assert (worst.label, worst.predicted, worst.explained) == ("metal", "glass", "glass")
    np.testing.assert_array_equal(worst.image, images[5])
    values = GradCam(classifier).maps(images[5:6], np.array([0]))[0]
    assert worst.marked == values.any()
    # Of one image alone, the last bits of the map may differ.
    assert abs(overlay(images[5], values).astype(int) - worst.overlay).max() <= 1
    for png, pixels in ((worst.image_png, worst.image), (worst.overlay_png, worst.overlay)):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), pixels)
    itself, other = worst.nearest  # The training images here are the same images, reversed.
    assert (itself.row, itself.label) == (len(images) - 1 - 5, "metal")
    assert itself.distance == pytest.approx(0, abs=1e-5)
    assert other.distance >= itself.distance
    np.testing.assert_array_equal(itself.image, images[5])


def test_an_image_that_is_shown_twice_is_explained_once(classifier, images, monkeypatch):
    asked = []
    maps = GradCam.maps
    monkeypatch.setattr(
        GradCam,
        "maps",
        lambda self, some, classes: asked.append(len(some)) or maps(self, some, classes),
    )
    found = explain_mistakes(GradCam(classifier), images, probabilities(), LABELS, None, AMOUNTS)
    assert asked == [5]
    assert found.worst[0] is found.weakest[0] is found.pairs[1].explanations[0]
    assert found.worst[0].nearest == ()


def test_without_mistakes_nothing_is_explained(classifier, images):
    right = np.eye(3, dtype=np.float32)[LABELS]
    found = explain_mistakes(GradCam(classifier), images, right, LABELS, None, AMOUNTS)
    assert (found.mistakes, found.worst, found.weakest, found.pairs) == (0, (), (), ())
    assert found.weakest_class is None


def test_a_class_without_test_images_is_not_the_weakest(classifier, images):
    rows = LABELS != 1
    some = probabilities()[rows]
    found = explain_mistakes(GradCam(classifier), images[rows], some, LABELS[rows], None, AMOUNTS)
    assert found.weakest_class == "paper"


def explained(classifier, images, train, rows, **changes):
    table = probabilities()
    arguments = {"train": train, "count": 2, **changes}
    return explain_images(GradCam(classifier), images, np.array(rows), table, **arguments)


def test_the_map_can_be_for_another_class(classifier, images, train):
    classes = np.full(len(images), 2)
    (found,) = explained(classifier, images, train, [5], classes=classes)
    assert (found.predicted, found.explained, found.label) == ("glass", "paper", None)
    values = GradCam(classifier).maps(images[5:6], np.array([2]))[0]
    assert abs(overlay(images[5], values).astype(int) - found.overlay).max() <= 1


def test_the_contact_sheet_has_a_row_for_each_image(classifier, images, train):
    found = explained(classifier, images, train, [5, 0, 8])
    few = explained(classifier, images, None, [3])
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet([*found, *few]))))
    one = np.asarray(Image.open(io.BytesIO(contact_sheet(found[:1]))))
    assert sheet.shape[1] == one.shape[1]
    assert sheet.shape[0] > 3.5 * one.shape[0] * 0.9
    assert contact_sheet([*found, *few]) == contact_sheet([*found, *few])


def test_the_page_shows_everything_and_escapes_names(classifier, images, train):
    (found,) = explained(classifier, images, train, [5])
    channels = feature_maps(classifier, images[5:6], "block1_conv", 4)[0]
    origin = Origin("<b>cat</b>/1.png", "data/train/model.keras", "block2_relu", (3, 3))
    page = explanation_page(origin, found, [("glass", 0.95), ("a<script>", 0.025)], channels)
    outline = Outline(page)
    assert outline.open == []
    assert not {"script", "link", "b"} - {"b"} & set(outline.tags)
    assert "<b>cat</b>/1.png" in outline.names
    assert outline.tags.count("img") == 3 + 4 + 2
    assert all(link.startswith("data:image/png;base64,") for link in outline.links)
    assert "0.950" in outline.section("top")
    assert "The 4 of" in outline.section("channels")
    assert "metal" in outline.section("nearest")
    assert page == explanation_page(
        origin, found, [("glass", 0.95), ("a<script>", 0.025)], channels
    )
    bare = Outline(explanation_page(origin, explained(classifier, images, None, [5])[0], [], None))
    assert "channels" not in bare.ids and "nearest" not in bare.ids


def test_the_weakest_class_has_the_lowest_share_of_right_predictions(classifier, images):
    """Of glass, 3 of 9 are right, and of metal 2 of 4."""
    labels = np.array([0] * 9 + [1] * 4)
    predicted = np.array([0] * 3 + [2] * 6 + [1, 1, 2, 2])
    shares = np.eye(3, dtype=np.float32)[predicted]
    found = explain_mistakes(GradCam(classifier), images, shares, labels, None, AMOUNTS)
    assert found.weakest_class == "glass"


def test_an_image_without_evidence_for_the_class_is_not_marked(classifier, images):
    import keras

    network = keras.models.clone_model(classifier.model)
    network.set_weights(classifier.model.get_weights())
    kernel = network.get_layer("logits").kernel
    kernel.assign(-np.abs(np.asarray(kernel)))
    (found,) = explained(replace(classifier, model=network), images, None, [5])
    assert not found.marked
