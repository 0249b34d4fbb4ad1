import json

import numpy as np
import pytest
from scipy.special import softmax

from components.evaluation.comparison import Rival
from components.evaluation.gate import Verdict, judge
from components.params.register import Register
from tests.benchmarks.gate import SKEWED, Case, draw_predictions, guarded, significantly_better

NAMES = ("glass", "metal", "paper")
LABELS = np.arange(600) % 3
SEED = 5
LARGE = {"a": 300, "b": 300, "c": 300}


@pytest.fixture
def register(params) -> Register:
    return params.register_.model_copy(update={"resamples": 300, "primary": "accuracy"})


def wrong_at(*positions):
    """Probabilities that are right everywhere but there, where the next class is named."""
    predicted = LABELS.copy()
    for some in positions:
        predicted[some] = (predicted[some] + 1) % 3
    return np.eye(3, dtype=np.float32)[predicted]


def judged(register, challenger, champion, labels=LABELS, names=NAMES, earlier=0) -> Verdict:
    """The verdict on two models of the same classes."""
    rival = None if champion is None else Rival(champion, names)
    return judge(labels, challenger, rival, names, register, SEED, earlier)


def counted(register, images, right, champion_right, **more) -> Verdict:
    """The verdict on models that are right on the first so many images of each class.

    images, right, champion_right: class → number. A wrong image gets the class that follows.
    """
    labels = np.repeat(np.arange(len(images)), list(images.values()))
    place = np.concatenate([np.arange(number) for number in images.values()])

    def probabilities(rights):
        wrong = place >= np.array([rights[name] for name in images])[labels]
        return np.eye(len(images), dtype=np.float32)[(labels + wrong) % len(images)]

    both = (probabilities(right), probabilities(champion_right))
    return judged(register, *both, labels, tuple(images), **more)


def reasons(verdict: Verdict) -> str:
    return "\n".join(verdict.reasons)


@pytest.mark.parametrize("better", [slice(0, 90), slice(0, 0)])
def test_a_temperature_changes_no_verdict(better, register):
    """So a calibrated challenger meets a champion from before temperatures on equal terms."""
    noise = np.random.default_rng(3).normal(size=(600, 3)).astype(np.float32)
    mine, theirs = (noise + 4 * wrong_at(some) for some in (slice(0, 30), better))

    def verdict(mine_divided_by: float, theirs_divided_by: float) -> Verdict:
        both = softmax(mine / mine_divided_by, axis=1), softmax(theirs / theirs_divided_by, axis=1)
        return judged(register, *both)

    assert verdict(0.3, 1.0) == verdict(1.0, 1.0) == verdict(3.0, 0.5)


def test_without_champion_a_challenger_above_all_floors_is_promoted(register):
    verdict = judged(register, wrong_at(slice(0, 30)), None)
    assert verdict.decision == "promote"
    assert verdict.reasons == (
        "there is no champion, and every value reaches its floor: accuracy 0.950, "
        "balanced accuracy 0.950, macro F1 0.950, lowest recall 0.950 (class glass)",
    )
    assert all(row.champion is None and row.difference is None for row in verdict.comparison)


def test_without_champion_the_class_of_the_lowest_recall_is_named(register):
    verdict = judged(register, wrong_at(slice(0, 60, 3), slice(1, 91, 3), slice(2, 32, 3)), None)
    assert verdict.decision == "promote"
    assert reasons(verdict).endswith("lowest recall 0.850 (class metal)")


def test_a_broken_floor_rejects_with_the_figures(register):
    verdict = judged(register, wrong_at(slice(0, 330, 3)), None)
    assert verdict.decision == "reject"
    assert reasons(verdict) == "recall of glass 0.450 is below its floor of 0.5"


def test_a_broken_floor_rejects_also_a_challenger_better_than_the_champion(register):
    verdict = judged(register, wrong_at(slice(0, 200)), wrong_at(slice(0, 400)))
    assert verdict.decision == "reject"
    assert "accuracy 0.667 is below its floor of 0.8" in reasons(verdict)


def test_a_score_of_exactly_its_floor_is_enough(register):
    verdict = judged(register, wrong_at(slice(0, 120)), None)
    assert [row.challenger.value for row in verdict.comparison[:2]] == [0.8, 0.8]
    assert verdict.decision == "promote"


def test_a_rounding_error_does_not_put_a_score_below_its_floor(register):
    # The mean of the recalls 0.6, 0.8 and 1 is 0.7999999999999999 in floating point.
    verdict = judged(register, wrong_at(slice(0, 240, 3), slice(1, 121, 3)), None)
    assert verdict.decision == "promote"


def test_a_balanced_accuracy_below_its_floor_rejects(register):
    right = {"a": 290, "b": 11}
    verdict = counted(register, {"a": 300, "b": 20}, right, right)
    assert verdict.decision == "reject"
    assert reasons(verdict) == "balanced accuracy 0.758 is below its floor of 0.8"


def test_a_significantly_better_challenger_is_promoted(register):
    verdict = judged(register, wrong_at(slice(0, 20)), wrong_at(slice(0, 60)))
    assert verdict.decision == "promote"
    assert "accuracy 0.967 against 0.900, +0.067 (95 % interval +0.0" in reasons(verdict)
    assert "p below 0.0001" in reasons(verdict)
    assert verdict.reasons[-1] == "a drop of the recall above 0.05 is excluded for every class"


def test_a_significantly_worse_challenger_is_rejected(register):
    verdict = judged(register, wrong_at(slice(0, 60)), wrong_at(slice(0, 20)))
    assert verdict.decision == "reject"
    assert reasons(verdict).startswith("significantly worse than the champion: accuracy 0.900")
    assert "against 0.967, −0.067 (95 % interval −0.0" in reasons(verdict)


def test_equal_models_cannot_be_told_apart(register):
    verdict = judged(register, wrong_at(slice(0, 30)), wrong_at(slice(0, 30)))
    assert verdict.decision == "hold"
    expected = (
        "no significant difference from the champion: accuracy 0.950, exactly as the champion"
    )
    assert reasons(verdict) == expected


def test_a_few_images_more_are_chance(register):
    verdict = judged(register, wrong_at(slice(0, 28)), wrong_at(slice(2, 32)))
    assert verdict.decision == "hold"
    assert "+0.003" in reasons(verdict)
    assert reasons(verdict).endswith("p 0.34, needed 0.025")


@pytest.mark.parametrize(("gained", "decision"), [(4, "hold"), (5, "hold"), (6, "promote")])
@pytest.mark.parametrize("primary", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_few_changed_images_are_judged_by_an_exact_test(register, primary, gained, decision):
    # One-sided p of 4:0, 5:0 and 6:0 is 1/16, 1/32 and 1/64.
    section = register.model_copy(update={"primary": primary})
    verdict = judged(section, wrong_at(slice(0, 20)), wrong_at(slice(0, 20 + gained)))
    assert verdict.decision == decision


def test_a_p_of_exactly_the_level_decides(register):
    section = register.model_copy(update={"confidence": 1 - 2 / 64})  # p of 6:0 is 1/64
    fewer, more = wrong_at(slice(0, 20)), wrong_at(slice(0, 26))
    assert judged(section, fewer, more).decision == "promote"
    worse = judged(section, more, fewer)
    assert worse.decision == "reject"
    assert reasons(worse).startswith("significantly worse")


def test_the_primary_metric_decides(register):
    # The challenger gains 7 of 20 images of the small class, and loses 9 of 900 others.
    images = {**LARGE, "d": 20}
    new, old = ({"a": r, "b": r, "c": r, "d": d} for r, d in ((270, 20), (273, 13)))
    decisions = {
        primary: counted(register.model_copy(update={"primary": primary}), images, new, old)
        for primary in ("accuracy", "balanced_accuracy")
    }
    assert decisions["balanced_accuracy"].decision == "promote"
    assert "significantly better than the champion: balanced accuracy" in reasons(
        decisions["balanced_accuracy"]
    )
    assert decisions["accuracy"].decision == "hold"


def test_images_are_paired_so_that_hard_images_do_not_blur_the_difference(register):
    # Both fail on 80 images; the challenger alone is right on 12 more: 0.02, with an unpaired
    # interval of about ±0.04.
    shared = slice(0, 80)
    verdict = judged(register, wrong_at(shared), wrong_at(shared, slice(80, 92)))
    accuracy, balanced = verdict.comparison[:2]
    assert verdict.decision == "promote"
    assert accuracy.difference.low > 0 < balanced.difference.low
    assert accuracy.challenger.low < accuracy.champion.high


def test_a_class_that_lost_too_much_beyond_chance_rejects_whatever_was_gained(register):
    # Glass falls from 1 to 0.8, while metal and paper gain more than that.
    challenger = wrong_at(slice(0, 120, 3))
    champion = wrong_at(slice(1, 200, 3), slice(2, 200, 3))
    verdict = judged(register, challenger, champion)
    assert verdict.decision == "reject"
    assert reasons(verdict).startswith("recall of glass dropped by significantly more than 0.05")


def test_a_class_that_may_have_lost_too_much_holds(register):
    # Glass falls from 1 to 0.93: certainly a drop, not certainly one of more than 0.05.
    challenger = wrong_at(slice(0, 42, 3))
    champion = wrong_at(slice(1, 200, 3), slice(2, 200, 3))
    verdict = judged(register, challenger, champion)
    assert verdict.decision == "hold"
    assert verdict.reasons == (
        "recall of glass dropped: 14 of 200 images lost, 0 gained",
        "recall of glass: a drop above 0.12 is excluded, with 200 images",
    )


@pytest.mark.parametrize(("images", "lost"), [(20, 3), (30, 5), (30, 3), (12, 3), (5, 2), (20, 1)])
def test_a_small_class_that_lost_images_is_held_however_much_the_others_gain(
    register, images, lost
):
    sizes = {**LARGE, "small": images}
    verdict = counted(
        register,
        sizes,
        {"a": 288, "b": 288, "c": 288, "small": images - lost},
        {"a": 270, "b": 270, "c": 270, "small": images},
    )
    assert verdict.decision != "promote"
    assert f"{lost} of {images} images lost, 0 gained" in reasons(verdict)


def test_a_small_class_without_loss_is_let_through_with_what_is_excluded(register):
    kept = {"a": 288, "b": 288, "c": 288, "small": 24}
    verdict = counted(
        register, {**LARGE, "small": 25}, kept, dict.fromkeys(LARGE, 270) | {"small": 24}
    )
    assert verdict.decision == "promote"
    assert verdict.reasons[1:] == (
        "recall of small: a drop above 0.14 is excluded, with 25 images; about 73 images would "
        "exclude a drop above 0.05",
    )


def test_earlier_comparisons_on_the_same_images_ask_for_more(register):
    challenger, champion = wrong_at(slice(0, 20)), wrong_at(slice(0, 27))  # 7 gained: p 1/128
    verdicts = [judged(register, challenger, champion, earlier=count) for count in (0, 2, 3)]
    assert [verdict.decision for verdict in verdicts] == ["promote", "promote", "hold"]
    assert "earlier" not in reasons(verdicts[0])
    expected = "3 comparisons on this test split before this one, so p must be at most 0.0063"
    assert verdicts[2].reasons[-1] == expected


@pytest.mark.parametrize(
    ("wrong", "decision"), [((0, 60, 1), "reject"), ((0, 42, 3), "hold"), ((0, 20, 1), "hold")]
)
def test_each_verdict_on_a_comparison_says_how_many_there_were(register, wrong, decision):
    # The step of 3 is harm to glass, while metal and paper gain.
    gains = [slice(1, 200, 3), slice(2, 200, 3)] if wrong[2] == 3 else [slice(0, 20)]
    champion = wrong_at(*gains)
    verdict = judged(register, wrong_at(slice(*wrong)), champion, earlier=1)
    assert verdict.decision == decision
    assert verdict.reasons[-1].startswith("1 comparison on this test split before this one")
    assert judged(register, wrong_at(slice(*wrong)), None, earlier=1).reasons == (
        judged(register, wrong_at(slice(*wrong)), None).reasons
    )


def test_a_permutation_test_can_reach_the_level_after_many_comparisons(register):
    section = register.model_copy(update={"primary": "macro_f1", "resamples": 100})
    verdict = judged(section, wrong_at(slice(0, 20)), wrong_at(slice(0, 80)), earlier=20)
    assert verdict.decision == "promote"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_probabilities_that_are_not_finite_reject(register, value):
    broken = wrong_at(slice(0, 30))
    broken[:7, 1] = value
    verdict = judged(register, broken, None)
    assert verdict.decision == "reject"
    expected = "the challenger's probabilities are NaN or infinite for 7 of 600 test images"
    assert reasons(verdict) == expected


def test_a_broken_champion_leaves_the_decision_to_a_person(register):
    broken = np.full((600, 3), np.nan, np.float32)
    verdict = judged(register, wrong_at(slice(0, 30)), broken)
    assert verdict.decision == "hold"
    assert "the champion's probabilities" in reasons(verdict)


def test_a_champion_with_one_broken_image_is_not_compared_at_all(register):
    broken = wrong_at(slice(0, 20))
    broken[599, 0] = np.nan
    verdict = judged(register, wrong_at(slice(0, 60)), broken)  # significantly worse
    assert verdict.decision == "hold"
    expected = "the champion's probabilities are NaN or infinite for 1 of 600 test images"
    assert reasons(verdict) == expected
    assert all(row.champion is None for row in verdict.comparison)


def test_a_class_without_test_images_leaves_the_decision_to_a_person(register):
    some = LABELS < 2
    verdict = judged(register, wrong_at(slice(0))[some], None, LABELS[some])
    assert verdict.decision == "hold"
    assert (
        reasons(verdict) == "no test image of paper, so the floor for the recall cannot be checked"
    )


def test_a_renamed_class_of_equal_models_is_said_and_held(register):
    champion = Rival(wrong_at(slice(0, 60)), ("glass", "metal", "trash"))
    names = ("glass", "metal", "rubbish")
    verdict = judge(LABELS, wrong_at(slice(0, 60)), champion, names, register, SEED, 0)
    assert verdict.decision == "hold"
    assert verdict.reasons == (
        "the classes changed (new: rubbish; gone: trash), so the models are compared on 400 test "
        "images of the 2 classes that both know",
        "no significant difference from the champion: accuracy 0.900, exactly as the champion",
    )
    rubbish = verdict.comparison[-1]
    assert (rubbish.class_name, rubbish.challenger.value) == ("rubbish", 0.9)
    assert rubbish.champion is None is rubbish.difference


@pytest.mark.parametrize(("old_classes", "decision"), [(0.91, "reject"), (0.95, "hold")])
def test_a_new_class_is_no_gain(register, old_classes, decision):
    # Ten classes of 100 images that both know, and an eleventh that only the challenger knows.
    labels = np.repeat(np.arange(11), 100)
    place = np.tile(np.arange(100), 11)
    names = tuple("abcdefghijk")

    def right_share(share, classes):
        return np.eye(classes, dtype=np.float32)[
            np.where(place >= 100 * share, (labels + 1) % classes, np.minimum(labels, classes - 1))
        ]

    champion = Rival(right_share(0.95, 10), names[:10])
    verdict = judge(labels, right_share(old_classes, 11), champion, names, register, SEED, 0)
    assert verdict.decision == decision
    assert verdict.reasons[0].startswith("the classes changed (new: k), so the models are compared")
    assert verdict.comparison[0].champion.value == 0.95


def test_a_new_class_below_its_floor_rejects(register):
    champion = Rival(wrong_at(slice(0))[:, :2], NAMES[:2])
    challenger = wrong_at(slice(2, 600, 3))
    verdict = judge(LABELS, challenger, champion, NAMES, register, SEED, 0)
    assert verdict.decision == "reject"
    assert "recall of paper 0.000 is below its floor of 0.5" in verdict.reasons
    assert "accuracy 0.667 is below its floor of 0.8" in verdict.reasons


def test_a_champion_that_names_a_class_that_is_gone_is_wrong(register):
    # The champion puts its whole probability on `foggy`; it is not credited with glass, class 0.
    foggy = np.tile(np.eye(4, dtype=np.float32)[3], (600, 1))
    champion = Rival(foggy, (*NAMES, "foggy"))
    verdict = judge(LABELS, wrong_at(slice(0, 30)), champion, NAMES, register, SEED, 0)
    assert [row.champion.value for row in verdict.comparison] == [0] * 6
    assert verdict.reasons[0].startswith("the classes changed (gone: foggy)")
    # The challenger is better on every image only because a class is gone.
    assert verdict.decision == "hold"
    assert verdict.reasons[1] == (
        "the champion gives 600 of these images to a class that is gone; they can be lost, but "
        "they are no gain"
    )


@pytest.mark.parametrize("primary", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_same_network_without_the_column_of_a_gone_class_is_no_better(register, primary):
    # 100 images of each class; glass looks a little like `old`.
    labels, generator = np.repeat(np.arange(3), 100), np.random.default_rng(0)
    logits = generator.normal(0, 1, (300, 4))
    logits[np.arange(300), labels] += 3.5
    logits[:100, 3] += 2
    with_old = np.exp(logits).astype(np.float32)
    champion = Rival(with_old / with_old.sum(1, keepdims=True), (*NAMES, "old"))
    challenger = with_old[:, :3] / with_old[:, :3].sum(1, keepdims=True)
    section = register.model_copy(update={"primary": primary})
    verdict = judge(labels, challenger, champion, NAMES, section, SEED, 0)
    assert verdict.decision == "hold"
    assert "the champion gives 17 of these images to a class that is gone" in reasons(verdict)
    assert "exactly as the champion" in reasons(verdict)


def test_a_class_in_place_of_another_is_no_gain(register):
    # The champion calls 10 of 50 images of glass `old`; it cannot know metal.
    labels = np.repeat([0, 1], 50)
    answers = np.eye(2, dtype=np.float32)[(np.arange(100) % 50 < 10).astype(int)]
    old = Rival(0.9 * answers + 0.05, ("glass", "old"))
    challenger = np.eye(2, dtype=np.float32)[labels]
    verdict = judge(labels, challenger, old, ("glass", "metal"), register, SEED, 0)
    assert verdict.decision == "hold"
    assert "exactly as the champion" in verdict.reasons[-1]


def of_gone(images, second):
    """A champion that is right but at `images`: `gone` first there, the next or right class second.

    Returns its probabilities for the classes NAMES and `gone`.
    """
    champion = np.pad(wrong_at(images) if second == "wrong" else wrong_at(), ((0, 0), (0, 1)))
    champion[images] /= 4
    champion[images, 3] = 0.75
    return Rival(champion, (*NAMES, "gone"))


def test_images_of_a_class_that_was_merged_into_another_are_no_gain(register):
    # What was `gone` is glass now. The champion answers `gone`, and its second answer is wrong.
    champion = of_gone(slice(0, 150, 3), "wrong")
    verdict = judge(LABELS, wrong_at(), champion, NAMES, register, SEED, 0)
    assert verdict.decision == "hold"
    assert "50 of these images" in verdict.reasons[1]
    assert "p 1, needed 0.025" in verdict.reasons[-1]


@pytest.mark.parametrize("second", ["right", "wrong"])
def test_answers_of_a_gone_class_hide_no_loss(register, second):
    # The champion gives 30 images of glass to `gone`; the challenger is wrong on 20 others.
    champion, challenger = of_gone(slice(0, 90, 3), second), wrong_at(slice(300, 360, 3))
    verdict = judge(LABELS, challenger, champion, NAMES, register, SEED, 0)
    assert verdict.decision == "reject"
    assert verdict.reasons[2].startswith("significantly worse")


@pytest.mark.parametrize(("second", "decision"), [("right", "reject"), ("wrong", "hold")])
def test_an_image_of_a_gone_class_is_lost_if_the_second_answer_was_right(
    register, second, decision
):
    images = slice(0, 90, 3)
    champion = of_gone(images, second)
    verdict = judge(LABELS, wrong_at(images), champion, NAMES, register, SEED, 0)
    assert verdict.decision == decision


def test_an_answer_of_a_new_class_is_a_loss_on_images_of_the_old_classes(register):
    challenger = np.pad(wrong_at(), ((0, 0), (0, 1)))
    challenger[:60] = np.eye(4, dtype=np.float32)[3]
    labels, names = np.append(LABELS, [3, 3]), (*NAMES, "new")
    challenger = np.vstack([challenger, np.eye(4, dtype=np.float32)[[3, 3]]])
    champion = Rival(np.vstack([wrong_at(), wrong_at()[:2]]), NAMES)
    verdict = judge(labels, challenger, champion, names, register, SEED, 0)
    assert verdict.decision == "reject"
    assert "accuracy 0.900 against 1.000, −0.100" in reasons(verdict)


def test_models_without_a_shared_class_are_not_compared(register):
    champion = Rival(wrong_at(slice(0)), ("x", "y", "z"))
    verdict = judge(LABELS, wrong_at(slice(0)), champion, NAMES, register, SEED, 0)
    assert verdict.decision == "hold"
    assert verdict.reasons[1] == (
        "no test image has a class that both models know, so nothing is compared"
    )


def test_a_verdict_on_a_thousand_classes_names_few_of_them(register):
    """Half of the classes are new, half are gone, and those that both know got lost."""
    names, labels = tuple(f"class {number}" for number in range(1_000)), np.arange(1_000)
    known = (*names[:500], *(f"old {number}" for number in range(500)))
    register = register.model_copy(update={"resamples": 100})
    challenger = np.eye(1_000, dtype=np.float32)[(labels + 1) % 1_000]
    rival = Rival(np.eye(1_000, dtype=np.float32), known)
    verdict = judge(labels, challenger, rival, names, register, SEED, 0)
    assert verdict.decision == "reject"
    assert len(verdict.reasons) < 20
    assert len(reasons(verdict)) < 1_500
    assert "new: class 500, class 501, " in verdict.reasons[0]
    assert "and 492 more; gone: old 0, " in verdict.reasons[0]
    assert "the recall is below its floor for 990 more classes; verdict.json has all" in (
        verdict.reasons
    )
    assert len(verdict.comparison) == 3 + 1_000


def test_the_order_of_the_champions_classes_does_not_matter(register):
    order = [2, 0, 1]
    champion = wrong_at(slice(0, 60))
    turned = Rival(champion[:, order], tuple(NAMES[index] for index in order))
    verdict = judge(LABELS, wrong_at(slice(0, 20)), turned, NAMES, register, SEED, 0)
    assert verdict == judged(register, wrong_at(slice(0, 20)), champion)


def test_each_metric_and_the_recall_of_each_class_has_a_row(register):
    images = {"a": 300, "b": 100, "c": 50}
    new, old = {"a": 291, "b": 96, "c": 45}, {"a": 288, "b": 95, "c": 46}
    rows = counted(register, images, new, old).comparison
    assert [(row.metric, row.class_name) for row in rows] == [
        ("accuracy", None),
        ("balanced_accuracy", None),
        ("macro_f1", None),
        ("recall", "a"),
        ("recall", "b"),
        ("recall", "c"),
    ]
    recalls = [(row.challenger.value, row.champion.value) for row in rows[3:]]
    assert recalls == [(0.97, 0.96), (0.96, 0.95), (0.9, 0.92)]
    for row in rows:
        gap = row.challenger.value - row.champion.value
        assert row.difference.low < row.difference.value < row.difference.high
        assert row.difference.value == pytest.approx(gap)


def test_the_same_arguments_give_the_same_verdict(register):
    section = register.model_copy(update={"primary": "macro_f1"})
    models = (wrong_at(slice(0, 28)), wrong_at(slice(2, 32)))
    assert judged(section, *models) == judged(section, *models)


@pytest.mark.parametrize("champion", [None, wrong_at(slice(0, 60))])
def test_a_verdict_survives_json_without_nan(register, champion):
    some = LABELS < 2  # so that one recall is undefined
    challenger = wrong_at(slice(0, 30))[some]
    champion = champion if champion is None else champion[some]
    verdict = judged(register, challenger, champion, LABELS[some])
    tree = json.loads(json.dumps(verdict.to_tree(), allow_nan=False))
    assert list(tree) == ["decision", "reasons", "comparison", "images", "confidence"]
    assert Verdict.from_tree({**tree, "version": 3}) == verdict


def test_a_verdict_of_an_older_release_is_read():
    value = {"value": 0.9, "low": 0.85, "high": 0.95}
    gap = {"value": 0.0, "low": 0.0, "high": 0.0}
    row = {"metric": "accuracy", "class_name": None, "challenger": value, "champion": value}
    tree = {"name": "digits", "version": 2, "champion": 1, "decision": "hold", "reasons": ["equal"]}
    tree |= {"comparison": [row | {"difference": gap}], "images": 270, "confidence": 0.95}
    verdict = Verdict.from_tree(tree)
    assert (verdict.decision, verdict.images) == ("hold", 270)
    assert verdict.comparison[0].difference.value == 0


@pytest.mark.parametrize("primary", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_gate_decides_as_its_simulation(register, primary):
    floors = register.floors.model_copy(
        update=dict.fromkeys(("accuracy", "balanced_accuracy", "recall"), 0.0)
    )
    section = register.model_copy(update={"primary": primary, "floors": floors, "resamples": 100})
    case = Case("", SKEWED, 0.85, 0.9)
    generator, decisions = np.random.default_rng(1), set()
    metrics = ["accuracy", "balanced_accuracy", "macro_f1"]
    for _ in range(12):
        labels, old, new = draw_predictions(case, generator)
        ours, theirs = (np.eye(6, dtype=np.float32)[predicted] for predicted in (new, old))
        verdict = judged(section, ours, theirs, labels, tuple("abcdef"))
        better = significantly_better(labels, old, new, section, SEED)[metrics.index(primary)]
        safe = guarded(labels, old, new, SKEWED, section)
        assert (verdict.decision == "promote") == (better and safe)
        decisions.add(verdict.decision)
    assert len(decisions) > 1
