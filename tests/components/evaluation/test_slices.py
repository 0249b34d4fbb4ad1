"""Planted slices are found; without them, hardly ever is one; the figures are scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import balanced_accuracy_score, f1_score

from components.errors import UserError
from components.evaluation.interval import counted_interval
from components.evaluation.slice_members import MISSING, Members, slice_members
from components.evaluation.slices import COLUMNS, measure_slices, weakness

IMAGES = 400


def table(seed: int = 0, **columns) -> pd.DataFrame:
    """Rows of test images with random facts."""
    generator = np.random.default_rng(seed)
    facts = {name: generator.random(IMAGES) for name in ("brightness", "sharpness", "contrast")}
    sides = {name: generator.integers(100, 4000, IMAGES) for name in ("width", "height")}
    camera = generator.choice(["phone", "reflex"], IMAGES)
    return pd.DataFrame({**facts, **sides, "camera": camera, **columns})


def predicted(wrong, classes: int = 4, seed: int = 1):
    """Labels and probabilities of which the given ones are wrong."""
    labels = np.random.default_rng(seed).integers(0, classes, len(wrong))
    return labels, np.eye(classes)[(labels + wrong) % classes]


def similarity(seed: int = 2):
    return np.random.default_rng(seed).random(IMAGES)


def wrong_at_random(share: float, seed: int):
    return np.random.default_rng(seed).random(IMAGES) < share


def test_a_dark_tenth_with_flipped_labels_is_found_as_the_weakest():
    rows = table()
    dark = rows["brightness"] <= rows["brightness"].quantile(0.1, interpolation="lower")
    wrong = wrong_at_random(0.1, seed=3) ^ dark.to_numpy()  # flipped labels
    members = slice_members(rows, ["camera"], similarity())
    found = measure_slices(*predicted(wrong), members, 0.95)
    assert found.weakest is not None
    assert found.weakest.name == "dark"
    assert found.weakest.images == 40
    assert found.weakest.rule == f"brightness at most {rows.loc[dark, 'brightness'].max():.4g}"
    assert [each.name for each in found.slices if each.weak] == ["dark"]
    assert "the weakest is dark (brightness at most" in found.in_words()


def test_a_pair_is_found_where_neither_of_its_slices_explains_it():
    rows = table()
    dark = (rows["brightness"] <= 0.1).to_numpy() & (rows["camera"] == "phone").to_numpy()
    wrong = wrong_at_random(0.05, seed=4) | dark
    members = slice_members(rows, ["camera"], similarity())
    found = measure_slices(*predicted(wrong), members, 0.95)
    assert found.weakest is not None
    assert found.weakest.name == "camera = phone and dark"
    assert found.slices[-1] == found.weakest


def test_without_a_weak_slice_one_is_named_in_at_most_5_percent_of_cases():
    named, pairs, generator, cases = 0, 0, np.random.default_rng(6), 1000
    for _ in range(cases):
        inside = generator.random((12, IMAGES)) < generator.uniform(0.05, 0.5, (12, 1))
        tests = weakness(generator.random(IMAGES) < 0.15, inside)
        named += bool(min(*tests.single, *tests.pair) <= 0.05)
        pairs += len(tests.pairs)
    assert 0 < named / cases <= 0.05
    assert pairs > 10 * cases


def test_looking_at_more_slices_asks_for_more():
    wrong = np.arange(IMAGES) < 40
    weak = (np.arange(IMAGES) < 7) | (np.arange(IMAGES) >= 385)  # 7 of 22 are wrong
    alone = weakness(wrong, weak[np.newaxis]).single[0]
    assert alone < 0.05
    expected = fisher_exact([[7, 15], [33, 345]], alternative="greater").pvalue
    assert alone == pytest.approx(expected)
    half = np.arange(IMAGES) % 2 == 0
    shared = weakness(wrong, np.array([weak, half]))
    assert len(shared.pair) == 1  # the pair has 11 images
    assert shared.single[0] == pytest.approx(2 * 2 * expected)  # two slices, and half for pairs
    generator = np.random.default_rng(7)
    others = [generator.permutation(weak) for _ in range(60)]
    assert weakness(wrong, np.array([weak, *others])).single[0] > 0.05


def test_figures_of_a_slice_are_those_of_scikit_learn_on_its_images(digits):
    inside = np.arange(300) % 3 == 0
    members = [Members("third", "third", "a third", inside)]
    (found,) = measure_slices(digits.labels, digits.probabilities, members, 0.95).slices
    labels, classes = digits.labels[inside], digits.probabilities[inside].argmax(axis=1)
    assert found.accuracy == counted_interval(int((labels == classes).sum()), 100, 0.95)
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, classes))
    assert found.macro_f1 == pytest.approx(f1_score(labels, classes, average="macro"))


def test_tiny_and_whole_slices_are_listed_but_not_tested():
    inside = np.array([np.arange(IMAGES) < 9, np.ones(IMAGES, bool)])
    members = [Members(name, name, name, part) for name, part in zip("ab", inside, strict=True)]
    found = measure_slices(*predicted(np.arange(IMAGES) < 9), members, 0.95)
    assert [each.p_value for each in found.slices] == [None, None]
    assert (found.tested, found.weakest) == (0, None)
    assert tuple(found.table()) == COLUMNS
    nothing = measure_slices(*predicted(np.arange(IMAGES) < 9), [], 0.95)
    assert nothing.table().empty


def test_every_value_of_a_column_is_a_slice_also_the_empty_one():
    rows = table(place=["hall", None, "yard", "hall"] * 100)
    names = [each.name for each in slice_members(rows, ["place"], similarity())]
    assert names[:3] == [f"place = {MISSING}", "place = hall", "place = yard"]
    assert names[3:] == ["small", "dark", "blurred", "low contrast", "near a training image"]
    assert slice_members(rows, ["place"], similarity())[0].inside.sum() == 100


def test_facts_that_tell_nothing_are_no_slices():
    rows = table(width=512, height=384, brightness=[0.2] * 100 + [0.5] * 300)
    names = [each.name for each in slice_members(rows, [], np.full(IMAGES, np.nan))]
    assert names == ["blurred", "low contrast"]  # all are of one size, and a quarter is as dark


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("kamera", None, r"no such column; choose among camera, .* Received: kamera$"),
        ("place", ["hall"] * IMAGES, r"2 to 50 values .* Received: place, with 1 value$"),
        ("place", [None] * IMAGES, r"Received: place, with 1 value$"),
        ("place", list(map(str, range(IMAGES))), r"Received: place, with 400 values$"),
    ],
)
def test_a_column_that_makes_no_slices_is_answered_with_one_sentence(column, values, message):
    rows = table(**({} if values is None else {column: values}))
    with pytest.raises(UserError, match=r"^evaluate\.slices: .*" + message):
        slice_members(rows, [column], similarity())


def test_ten_thousand_classes_take_seconds():
    labels = np.random.default_rng(8).integers(0, 10_000, IMAGES)
    probabilities = np.zeros((IMAGES, 10_000), np.float32)
    probabilities[np.arange(IMAGES), labels] = 1
    found = measure_slices(labels, probabilities, slice_members(table(), [], similarity()), 0.95)
    assert found.weakest is None
    assert {each.accuracy.value for each in found.slices} == {1}
