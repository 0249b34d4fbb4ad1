"""Methods against unequal classes: compared in pairs, on images that they have not seen."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from components.calibration.adjustment import fit_adjustment
from components.errors import UserError
from components.evaluation.interval import Interval, corrected_interval
from components.imbalance import comparison, heads
from components.imbalance.comparison import (
    Comparison,
    Result,
    compare,
    measure_scores,
)
from components.imbalance.heads import Heads
from components.imbalance.methods import METHODS, NONE, OFF, TUNED_KEY, Method
from components.imbalance.page import TITLES, _chart, comparison_page
from components.model.classifier import build_classifier
from components.params.balance import Strategy
from components.params.train import Train
from components.training_set.examples import Balance, Examples
from tests.components.pages.outline import Outline

NAMES = ("many", "some", "few")
COUNTS = (600, 150, 50)


@pytest.fixture(scope="module")
def pool() -> Examples:
    """Features of three classes that overlap; three of the 48 features tell them apart."""
    labels = np.repeat(np.arange(3), COUNTS)
    generator = np.random.default_rng(1)
    centres = np.zeros((3, 48))
    centres[[0, 1, 2], [0, 1, 2]] = 1.5
    noise = generator.normal(size=(len(labels), 48)) * np.repeat([1.0, 0.1], (3, 45))
    features = centres[labels] + noise
    return Examples(features.astype(np.float32), labels)


@pytest.fixture(scope="module")
def train(params) -> Train:
    head = params.train.head.model_copy(update={"epochs": 20, "learning_rate": 0.02})
    return params.train.model_copy(update={"head": head})


@pytest.fixture(scope="module")
def compared(pool, train, params, tiny_backbone) -> Comparison:
    oversample, tuned = METHODS[4], METHODS[-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "METHODS", (NONE, oversample, tuned))
        return run(pool, train, params)


def run(pool, train, params) -> Comparison:
    keras.utils.set_random_seed(1)
    classifier = build_classifier(params.model, NAMES, 8, "squash")
    assert classifier.backbone.output_shape[-1] == 48
    done = []

    def track(trainings, total):
        for item in trainings:
            done.append(total)
            yield item

    found = compare(classifier, pool, range(len(pool)), train, 0.999, 2, track)
    assert done == [len(done)] * len(done)
    return found


def test_every_strategy_and_loss_is_compared(params):
    values = {method.value for method in METHODS}
    assert values >= set(Strategy.__args__) - {"augment_minority"}
    losses = Train.model_fields["loss"].annotation.__args__
    # cost_sensitive is about costs of confusions, not about rare classes.
    assert values >= set(losses) - {"cross_entropy", "cost_sensitive"}


def test_a_command_turns_off_the_switches_of_all_other_methods():
    """All methods were compared with the other switches off, and two may not go together."""
    assert METHODS[-1].command(OFF) == "dvc exp run -S model.logit_adjustment=tuned"
    assert METHODS[1].command({}) == "dvc exp run -S balance.strategy=inverse_weights"
    present = {"balance.strategy": "smote", "train.loss": "focal", TUNED_KEY: "tuned"}
    assert Method("train.loss", "logit_adjusted").command(present) == (
        "dvc exp run -S train.loss=logit_adjusted -S balance.strategy=none "
        "-S model.logit_adjustment=none"
    )
    assert NONE.command({"train.loss": "focal"}) == (
        "dvc exp run -S balance.strategy=none -S train.loss=cross_entropy"
    )


def test_methods_for_rare_classes_find_more_of_them(compared):
    assert compared.rare == ("few",)
    none, *others = compared.results
    assert none.method == NONE
    assert none.differences["macro_f1"] == Interval(0.0, 0.0, 0.0)
    for result in others:
        assert result.means["rare_recall"] > none.means["rare_recall"] + 0.05
        gain = result.means["rare_recall"] - none.means["rare_recall"]
        assert result.differences["rare_recall"].value == pytest.approx(gain)


def test_equal_arguments_give_equal_results(compared, pool, train, params, monkeypatch):
    monkeypatch.setattr(comparison, "METHODS", (NONE,))
    again = run(pool, train, params)
    assert again.results[0].means == compared.results[0].means


@pytest.mark.slow
def test_all_methods_train(pool, train, params, tiny_backbone):
    found = run(pool, train, params)
    assert [result.method for result in found.results] == list(METHODS)
    scores = np.array([list(result.means.values()) for result in found.results])
    assert ((scores >= 0) & (scores <= 1)).all()
    quality = [comparison.SCORES.index(name) for name in ("macro_f1", "accuracy")]
    assert (scores[:, quality] > 0.3).all()
    # Every method that is on differs from none, so its switch reaches the training.
    assert all(result.means != found.results[0].means for result in found.results[1:])


def result(method: Method, macro_f1: float, low: float) -> Result:
    interval = Interval(macro_f1 - 0.5, low, 1.0)
    return Result(method, dict.fromkeys(comparison.SCORES, macro_f1), {"macro_f1": interval})


def test_the_best_of_those_that_are_surely_better_is_chosen():
    none = result(NONE, 0.5, 0.0)
    lucky, sure, surest = (
        result(Method("train.loss", name), *numbers)
        for name, numbers in {"a": (0.9, -0.1), "b": (0.7, 0.1), "c": (0.6, 0.09)}.items()
    )
    assert Comparison((none, lucky, sure, surest), (), 9, 5).chosen == sure
    assert Comparison((none, lucky), (), 9, 5).chosen == none


def test_a_method_is_compared_with_none_seed_by_seed():
    """Of five folds one measures, and four train or choose, so their share is 1 / 4."""
    none, method = np.full((3, 3), 0.5), np.full((3, 3), 0.5)
    none[:, 0], method[:, 0] = (0.5, 0.7, 0.6), (0.6, 0.9, 0.6)
    scores = {NONE: list(none), METHODS[4]: list(method)}
    found = comparison._result(METHODS[4], scores)
    assert found.means["macro_f1"] == pytest.approx(0.7)
    differences = method[:, 0] - none[:, 0]
    expected = corrected_interval(differences, 1 / 4, 0.95, limits=(-1.0, 1.0))
    assert found.differences["macro_f1"] == expected
    assert found.differences["accuracy"] == Interval(0.0, 0.0, 0.0)


def test_scores_are_those_of_scikit_learn():
    from sklearn.metrics import f1_score, recall_score

    generator = np.random.default_rng(1)
    labels, predicted = generator.integers(0, 4, (2, 60))
    macro_f1, rare_recall, accuracy = measure_scores(labels, predicted, [1, 3])
    assert macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    recalls = recall_score(labels, predicted, average=None)
    assert rare_recall == pytest.approx(recalls[[1, 3]].mean())
    assert accuracy == np.mean(labels == predicted)


def test_a_class_with_too_few_images_is_one_sentence(train, params, tiny_backbone):
    labels = np.repeat(np.arange(3), (20, 20, 4))
    few = Examples(np.zeros((44, 48), np.float32), labels)
    with pytest.raises(UserError, match=r"at least 5 images of each class .*Received: few: 4$"):
        run(few, train, params)


def test_copies_do_not_count_as_images_of_a_class(train, params, tiny_backbone):
    labels = np.repeat(np.arange(3), (20, 20, 8))
    sets = [*range(40), *[40, 41, 42, 43] * 2]
    copies = Examples(np.zeros((48, 48), np.float32), labels)
    classifier = build_classifier(params.model, NAMES, 8, "squash")
    with pytest.raises(UserError, match=r"Received: few: 4$"):
        compare(classifier, copies, sets, train, 0.999, 2, lambda items, total: items)


class Recorder:
    """Stands for the heads: it records what they are fitted on, and prefers the large classes."""

    def __init__(self, labels) -> None:
        noise = np.random.default_rng(5).normal(size=(sum(COUNTS), 3))
        self.all_logits = noise + 4 * np.eye(3)[labels] + 2 * np.log(COUNTS)

    def fit(self, *given) -> None:
        _, _, self.train, self.val, self.seed = given

    def logits(self, rows):
        return self.all_logits[rows]


def test_five_seeds_measure_every_image_once_and_choose_on_others(pool):
    measured = []
    for seed in range(5):
        folds = comparison._folds(pool.labels, range(len(pool)), NAMES, seed)
        heads, method = Recorder(pool.labels), METHODS[-1]
        predicted, labels = comparison._predict(
            method, heads, pool.labels, folds, NAMES, 0.999, seed
        )
        test = np.flatnonzero(folds == seed)
        assert (len(test), heads.seed) == (160, seed)
        assert sorted([*test, *heads.train, *heads.val]) == list(range(800))
        assert len(heads.val) == 160
        np.testing.assert_array_equal(labels, pool.labels[test])
        priors = np.log(np.bincount(pool.labels[heads.train]) / 480)
        fitted = fit_adjustment(heads.logits(heads.val), pool.labels[heads.val], priors)
        assert fitted.tau > 0
        expected = (heads.logits(test) + fitted.shift).argmax(axis=1)
        np.testing.assert_array_equal(predicted, expected)
        measured += test.tolist()
    assert sorted(measured) == list(range(800))
    assert (comparison._folds(pool.labels, range(800), NAMES, 5) != folds).any()


def test_a_head_learns_from_its_rows_and_keeps_the_epoch_that_is_best_on_val(train, monkeypatch):
    """The kernel of each epoch is given: the second one is right on val, the third on train."""
    labels = np.arange(40) % 2
    right = np.arange(40) % 4 < 2  # on these rows the kernel 1, 0, 0, 1 is right
    features = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]
    head = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
    kernels = iter([np.zeros((2, 2)), -9 * np.eye(2), 9 * np.eye(2)])
    seen = []

    def compile_epoch(*_):
        def epoch(rows, weights):
            seen.append((rows, weights))
            head.layers[0].kernel.assign(next(kernels))

        return epoch

    monkeypatch.setattr(heads, "compile_epoch", compile_epoch)
    short = train.model_copy(update={"head": train.head.model_copy(update={"epochs": 3})})
    counts, weights = np.array([10, 10]), np.array([0.5, 1.5], np.float32)
    balance = Balance(counts, weights, np.log([0.5, 0.5]).astype(np.float32))
    trained = Heads(SimpleNamespace(head=head), Examples(features, labels), balance, short, 4)
    rows, val = np.flatnonzero(right), np.flatnonzero(~right)
    trained.fit(balance, "cross_entropy", rows, val, 1)
    np.testing.assert_array_equal(trained.logits(np.arange(40)), -9 * features)
    assert len(seen) == 3
    for drawn, factors in seen:
        assert (len(drawn), set(drawn.flat) <= set(rows)) == (4, True)
        np.testing.assert_array_equal(factors, weights[labels[drawn]])


def test_the_page_names_the_choice_and_draws_every_method(compared):
    counts = dict(zip(NAMES, COUNTS, strict=True))
    command = compared.chosen.method.command(OFF)
    text = comparison_page(compared, counts, command)
    outline = Outline(text)
    assert outline.open == []
    assert not {"script", "link", "iframe", "img"} & set(outline.tags)
    assert outline.tags.count("circle") == 3 * 2
    for score, title in TITLES.items():
        chart = _chart(compared, score)
        assert chart.title == f"{title}: difference to none"
        value = compared.results[1].differences[score].value
        assert (chart.rows[0].name, chart.rows[0].text) == ("oversample", f"{value:+.3f}")
    assert f"<code>{command}</code>" in text
    assert "<h1>2 methods against" in text  # and none
    assert all(result.method.name in text for result in compared.results)
    assert text == comparison_page(compared, counts, command)


def test_an_update_of_more_batches_than_an_epoch_is_refused(pool, train, params, tiny_backbone):
    with pytest.raises(UserError, match=r"^train\.accumulate: .* write at most 15, "):
        run(pool, train.model_copy(update={"accumulate": 16}), params)
