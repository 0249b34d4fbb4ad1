"""Planted slices are found; without them, hardly ever is one; the figures are scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import balanced_accuracy_score, f1_score

from components.errors import UserError
from components.evaluation.interval import counted_interval
from components.evaluation.slice_members import (
    MISSING,
    Members,
    check_columns,
    slice_members,
)
from components.evaluation.slices import (
    COLUMNS,
    measure_slices,
    weak_slices,
    weakest_slices_first,
    weakness,
)

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


def test_the_weak_slices_of_a_table_are_those_that_were_measured(tmp_path):
    rows = table(place=np.where(np.arange(IMAGES) < 40, "left", "right"))
    dark = rows["brightness"] <= rows["brightness"].quantile(0.1, interpolation="lower")
    wrong = wrong_at_random(0.05, seed=3) | dark.to_numpy() | (np.arange(IMAGES) < 30)
    found = measure_slices(*predicted(wrong), slice_members(rows, ["place"], similarity()), 0.95)
    found.table().to_csv(tmp_path / "slices.csv", index=False)
    weak = weak_slices(pd.read_csv(tmp_path / "slices.csv"))
    assert weak is not None
    assert [each.name for each in weak] == ["dark", "place = left"]
    shown = weakest_slices_first(found.table())
    assert [*shown][:4] == ["slice", "images", "accuracy", "p_value"]
    assert set(shown) == set(COLUMNS)
    assert set(shown["slice"][:2]) == {"dark", "place = left"}
    assert shown["accuracy"][2:].is_monotonic_increasing
    for each in weak:
        (measured,) = (other for other in found.slices if other.name == each.name)
        assert (each.rule, each.images, each.weak) == (measured.rule, measured.images, True)
        assert each.accuracy.high == pytest.approx(measured.accuracy.high, abs=1e-6)


def test_a_table_without_a_weak_or_a_tested_slice_or_a_column(tmp_path):
    members = slice_members(table(), [], similarity())
    even = measure_slices(*predicted(wrong_at_random(0.1, seed=3)), members, 0.95).table()
    assert weak_slices(even) == ()
    assert weak_slices(even.assign(p_value=np.nan)) is None
    measure_slices(*predicted(np.zeros(IMAGES, bool)), [], 0.95).table().to_csv(tmp_path / "a.csv")
    assert weak_slices(pd.read_csv(tmp_path / "a.csv")) is None
    with pytest.raises(ValueError, match="weak"):
        weak_slices(even.drop(columns="weak"))
    with pytest.raises(ValueError, match="about half"):
        weak_slices(even.assign(weak=True, accuracy="about half"))


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


def drawn(seed: int):
    """Mistakes, and six slices of which the first has many; the p-values have all sizes."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(IMAGES) < 0.2
    inside = generator.random((6, IMAGES)) < generator.uniform(0.05, 0.6, (6, 1))
    inside[0] |= wrong & (generator.random(IMAGES) < 0.3)
    return wrong, inside


def test_p_values_are_fishers_with_holms_correction():
    wrong, inside = drawn(seed=24)
    found = weakness(wrong, inside)

    def p_value(part, rest):
        table = [[(wrong & some).sum(), (~wrong & some).sum()] for some in (part, rest)]
        return fisher_exact(table, alternative="greater").pvalue

    def of_pair(first, second):
        both = inside[first] & inside[second]
        return max(p_value(both, inside[part] & ~both) for part in (first, second))

    def corrected(p_values, own):
        """The highest of p * (number of p-values not below it), of all up to `own`."""
        steps = (p * sum(other >= p for other in p_values) for p in p_values if p <= own)
        return min(1, 2 * max(steps))  # half of the error is for single slices, half for pairs

    single = [p_value(part, ~part) for part in inside]
    pairs = [of_pair(first, second) for first, second in found.pairs]
    assert len(pairs) > 5
    assert min(found.single) < 0.05 < max(found.single)
    assert found.single == pytest.approx([corrected(single, p) for p in single])
    assert found.pair == pytest.approx([corrected(pairs, p) for p in pairs])


@pytest.mark.parametrize(("seed", "singles", "pairs"), [(24, 1, 1), (29, 2, 0)])
def test_weak_is_what_has_a_p_value_of_at_most_one_minus_the_confidence(seed, singles, pairs):
    wrong, inside = drawn(seed)
    tests, members = weakness(wrong, inside), [Members("a", "a", "a", part) for part in inside]
    for limit in (0.05, 0.4, 0.6):
        found = measure_slices(*predicted(wrong), members, 1 - limit)
        assert [each.weak for each in found.slices[:6]] == (tests.single <= limit).tolist()
        assert len(found.slices[6:]) == (tests.pair <= limit).sum()
        assert all(each.weak for each in found.slices[6:])
    assert ((tests.single <= 0.6).sum(), (tests.pair <= 0.6).sum()) == (singles, pairs)


def test_slices_and_pairs_of_ten_images_are_tested_and_a_slice_in_a_slice_is_no_pair():
    place = np.arange(IMAGES)
    ten, wide, beside = place < 10, place < 20, (place >= 10) & (place < 60)
    found = weakness(place % 7 == 0, np.array([ten, wide, beside]))
    assert not np.isnan(found.single).any()
    assert found.pairs.tolist() == [[1, 2]]  # 10 images; `ten` is a part of `wide`


def test_of_two_weak_slices_the_one_that_is_weak_for_sure_is_the_weakest():
    """No image of the small slice is right, and 10 % of the large one."""
    place = np.arange(IMAGES)
    small, large = place < 11, (place >= 11) & (place < 111)
    wrong = small | (large & (place % 10 != 0)) | (place % 50 == 0)
    members = [Members(name, name, name, part) for name, part in (("s", small), ("l", large))]
    found = measure_slices(*predicted(wrong), members, 0.95)
    assert [each.weak for each in found.slices] == [True, True]
    assert found.weakest is not None
    assert found.weakest.name == "l"


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


def test_small_images_have_a_short_side_and_near_ones_a_high_similarity():
    rows, near = table(), similarity()
    found = {each.name: each.inside for each in slice_members(rows, [], near)}
    shorter = rows[["width", "height"]].min(axis=1).to_numpy()
    assert shorter[found["small"]].max() < shorter[~found["small"]].min()
    assert near[found["near a training image"]].min() > near[~found["near a training image"]].max()
    assert found["near a training image"].sum() == 40


@pytest.mark.parametrize(("values", "refused"), [(2, False), (50, False), (51, True)])
def test_a_column_may_have_2_to_50_values(values, refused):
    rows = table(place=np.arange(IMAGES) % values)
    if refused:
        with pytest.raises(UserError, match="with 51 values"):
            check_columns(rows, ["place"])
    else:
        check_columns(rows, ["camera", "place"])
        names = [each.name for each in slice_members(rows, ["place"], similarity())]
        assert names[:values] == sorted(f"place = {value}" for value in range(values))


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
