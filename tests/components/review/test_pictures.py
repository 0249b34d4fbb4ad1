import numpy as np

from components.evaluation.comparison import Rival
from components.review.pictures import SHOWN, changed_images

NAMES = ("glass", "paper")


def sure_of(answers, confidence=0.9, classes=2):
    """Probabilities that give each image its answer with this confidence."""
    rows = np.full((len(answers), classes), (1 - confidence) / (classes - 1))
    rows[np.arange(len(answers)), answers] = confidence
    return rows


def changed(labels, challenger, champion, names=NAMES, known=NAMES, compared=None):
    labels = np.array(labels)
    rows = len(labels)
    return changed_images(
        [f"{row:03}.png" for row in range(rows)],
        labels,
        np.arange(rows * 12, dtype=np.uint8).reshape(rows, 2, 2, 3),
        np.asarray(challenger),
        Rival(np.asarray(champion), known),
        names,
        np.ones(rows, bool) if compared is None else np.array(compared),
    )


def test_images_that_exactly_one_model_gets_right_are_shown():
    found = changed([0, 0, 1, 1], sure_of([0, 1, 1, 0]), sure_of([1, 0, 1, 0]))
    assert (found.lost, found.gained) == (1, 1)
    (worse,), (better,) = found.worse, found.better
    assert (worse.path, worse.label, worse.challenger, worse.champion) == (
        *("001.png", "glass", "paper", "glass"),
    )
    assert (better.path, better.challenger, better.champion) == ("000.png", "glass", "paper")
    assert worse.pixels[0, 0, 0] == 12


def test_the_surest_wrong_answer_comes_first_and_the_rest_is_counted():
    labels = np.zeros(40, int)
    challenger = np.stack([[1 - p, p] for p in np.linspace(0.55, 0.94, 40)])
    found = changed(labels, challenger, sure_of(labels))
    assert (found.lost, len(found.worse), found.better) == (40, SHOWN, ())
    assert [picture.path for picture in found.worse[:2]] == ["039.png", "038.png"]
    assert found.worse[0].confidence == challenger[39, 1]


def test_images_left_out_of_the_comparison_are_left_out_here():
    found = changed([0, 0], sure_of([1, 1]), sure_of([0, 0]), compared=[False, True])
    assert [picture.path for picture in found.worse] == ["001.png"]


def test_classes_are_matched_by_name_and_only_shared_ones_count():
    """The champion knows no paper, and a class `tin` that is gone."""
    names, known = ("glass", "paper", "metal"), ("tin", "metal", "glass")
    champion = np.array([[0.5, 0.1, 0.4], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]])
    challenger = sure_of([2, 0, 1, 2], classes=3)
    found = changed([0, 0, 1, 2], challenger, champion, names, known)
    # Image 2 is paper. Image 3 is metal: tin counts as metal, which is right for both.
    (worse,) = found.worse
    assert (worse.path, worse.champion, worse.counted) == ("000.png", "tin", "glass")
    assert (found.lost, found.gained) == (1, 0)


def test_an_answer_of_a_class_that_is_gone_is_no_gain():
    champion = np.array([[0.2, 0.3, 0.5]])  # tin, and metal among the shared classes
    known = ("glass", "metal", "tin")
    found = changed([0], sure_of([0]), champion, ("glass", "metal"), known)
    assert (found.lost, found.gained) == (0, 0)


def test_what_was_gained_is_sorted_by_how_sure_the_champion_was():
    champion = np.stack([[1 - p, p] for p in (0.6, 0.9, 0.7)])
    found = changed([0, 0, 0], sure_of([0, 0, 0], 0.99), champion)
    assert [picture.path for picture in found.better] == ["001.png", "002.png", "000.png"]
    assert found.better[0].confidence == champion[1, 1]
