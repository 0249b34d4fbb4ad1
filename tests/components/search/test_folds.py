"""Folds on which the best trials are trained again: other images in val, nothing copied."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from components.errors import UserError
from components.search.folds import confirmation_folds, val_to_train
from components.training.training import train_classifier
from components.training_set.balance import plan
from components.training_set.examples import Balance, Data, Examples
from tests.components.training.conftest import tiny_data, tiny_hyperparameters

NAMES = ("cat", "dog", "emu")
BETA = 0.99
TRAIN, VAL = 700, 150


def numbered(labels) -> Examples:
    """Images of one pixel and 32 bits, whose value is their number."""
    numbers = np.arange(len(labels), dtype=np.uint32)
    return Examples(numbers.view(np.uint8).reshape(-1, 1, 1, 4), np.asarray(labels, np.int64))


def data_of(train_labels, val_labels, strategy="none") -> Data:
    """Data whose images have their position among train and val as pixels."""
    both = numbered(np.concatenate([train_labels, val_labels]))
    count = len(train_labels)
    texts = [NAMES[label] for label in train_labels]
    return Data(
        Examples(both.inputs[:count], both.labels[:count]),
        Examples(both.inputs[count:], both.labels[count:]),
        Balance.from_plan(plan(strategy, texts, NAMES, BETA)),
        NAMES,
        1,
        "squash",
        "content",
    )


def positions(examples: Examples) -> np.ndarray:
    return examples.inputs[:].reshape(-1, 4).view(np.uint32).ravel()


@pytest.fixture
def labels():
    """Classes with 60, 30 and 10 percent of the images."""
    generator = np.random.default_rng(3)
    return [generator.choice(3, size, p=[0.6, 0.3, 0.1]) for size in (TRAIN, VAL)]


def folds_of(data, sets=None, folds=5, seed=7):
    images = len(data.train) + len(data.val)
    return confirmation_folds(data, range(images) if sets is None else sets, folds, seed, BETA)


def test_no_image_on_which_a_trial_was_chosen_is_in_val(labels):
    data = data_of(*labels)
    folds = folds_of(data)
    for fold in folds:
        train, val = positions(fold.data.train), positions(fold.data.val)
        assert sorted([*train, *val]) == list(range(TRAIN + VAL))
        assert val.max() < TRAIN
        assert len(val) == pytest.approx(TRAIN / 5, abs=3)
        both = np.concatenate(labels)
        assert fold.data.train.labels.tolist() == both[train].tolist()
        assert fold.data.val.labels.tolist() == both[val].tolist()
    measured = np.concatenate([positions(fold.data.val) for fold in folds])
    assert sorted(measured) == list(range(TRAIN))
    assert val_to_train(folds) == pytest.approx(140 / 710, abs=0.001)


def test_every_class_has_its_share_in_val(labels):
    for fold in folds_of(data_of(*labels)):
        shares = np.bincount(fold.data.val.labels) / len(fold.data.val)
        assert shares == pytest.approx(np.bincount(labels[0]) / TRAIN, abs=0.01)


def test_copies_are_on_one_side(labels):
    generator = np.random.default_rng(5)
    sets = np.concatenate([generator.integers(0, 200, TRAIN), generator.integers(190, 300, VAL)])
    old = set(sets[TRAIN:])
    for fold in folds_of(data_of(*labels), sets):
        train, val = (set(sets[positions(part)]) for part in (fold.data.train, fold.data.val))
        assert not train & val
        assert not old & val  # also the sets 190 to 199, which have images in both old splits
        assert len(fold.data.val) > TRAIN / 8


def test_more_folds_than_parts_cut_again_in_another_way(labels):
    folds = folds_of(data_of(*labels), folds=7)
    vals = [frozenset(positions(fold.data.val)) for fold in folds]
    assert len(set(vals)) == 7
    assert not vals[5] & vals[6]
    assert 0 < len(vals[0] & vals[5]) < len(vals[0])
    assert vals[:3] == [frozenset(positions(f.data.val)) for f in folds_of(data_of(*labels))][:3]


def test_folds_differ_in_seed_and_content_and_depend_on_nothing_else(labels):
    data = data_of(*labels)
    folds = folds_of(data, seed=2**32 - 3)
    assert [fold.seed for fold in folds] == [2**32 - 2, 2**32 - 1, 0, 1, 2]
    assert len({data.content, *(fold.data.content for fold in folds)}) == 6
    again = folds_of(data, seed=2**32 - 3)
    assert [fold.data.content for fold in again] == [fold.data.content for fold in folds]
    assert folds_of(data, seed=8)[0].data.content != folds_of(data, seed=7)[0].data.content


def test_the_balance_plan_is_that_of_the_train_split_of_the_fold(labels):
    data = data_of(*labels, strategy="effective_number_weights")
    costs = np.array([[0, 4, 1], [1, 0, 1], [1, 1, 0]], np.float32)
    data = replace(data, balance=replace(data.balance, costs=costs))
    for fold in folds_of(data, folds=2):
        texts = [NAMES[label] for label in fold.data.train.labels]
        expected = Balance.from_plan(plan("effective_number_weights", texts, NAMES, BETA))
        found = fold.data.balance
        assert found.strategy == "effective_number_weights"
        assert found.costs is costs
        assert found.targets.tolist() == np.bincount(fold.data.train.labels).tolist()
        assert np.array_equal(found.class_weights, expected.class_weights)
        assert not np.array_equal(found.class_weights, data.balance.class_weights)


def test_a_large_val_split_still_leaves_train_the_half():
    data = data_of([0, 1, 2] * 20, [0, 1, 2] * 60)
    fold = folds_of(data, folds=1)[0]
    assert (len(fold.data.train), len(fold.data.val)) == (210, 30)


def test_few_groups_give_few_parts_and_one_group_is_refused():
    data = data_of([0] * 60 + [1] * 60 + [2], [0, 1, 1, 2])
    sets = [*np.repeat(range(6), 20).tolist(), *range(6, 11)]
    vals = [len(fold.data.val) for fold in folds_of(data, sets, folds=5)]
    assert vals == [41, 40, 40, 41, 40]
    with pytest.raises(UserError, match=r"search.confirm.trials: .* Received: 1 of each class$"):
        folds_of(data, [0] * 60 + [1] * 60 + [2, 6, 7, 8, 9])


def test_pixels_are_neither_copied_nor_sent_nor_hashed_again(labels, tmp_path, monkeypatch):
    file = tmp_path / "train.npy"
    np.save(file, np.random.default_rng(1).integers(0, 256, (TRAIN, 32, 32, 3), np.uint8))
    pixels = np.load(file, mmap_mode="r")
    data = data_of(*labels)
    val = Examples(np.zeros((VAL, 32, 32, 3), np.uint8), data.val.labels)
    data = replace(data, train=Examples(pixels, data.train.labels), val=val)
    digests = [*data.train.digests, *data.val.digests]
    monkeypatch.setattr(np, "ascontiguousarray", None)  # what hashes an image
    fold = folds_of(data)[0].data
    assert fold.train.inputs.parts[0].inputs is pixels
    rows = fold.val.inputs.rows
    assert fold.val.digests == [digests[row] for row in rows]
    assert len(pickle.dumps(fold.val)) < VAL * 32 * 32 * 3 + 50_000
    sent = pickle.loads(pickle.dumps(fold.val))
    for index in (3, -1, slice(4, 9), np.array([7, 0, 7])):
        expected = pixels[rows[index]]
        assert np.array_equal(fold.val.inputs[index], expected)
        assert np.array_equal(sent.inputs[index], expected)
    assert fold.train.inputs.shape == (TRAIN + VAL - len(rows), 32, 32, 3)
    with pytest.raises(TypeError, match="choose the rows first"):
        np.asarray(fold.train.inputs)


def test_training_on_a_fold_is_training_on_a_copy_of_its_images(params, tiny_backbone, tmp_path):
    hyperparameters = tiny_hyperparameters(params)
    fold = confirmation_folds(tiny_data(), range(36), 1, 7, BETA)[0].data
    copied = {
        split: Examples(examples.inputs[:], examples.labels)
        for split, examples in (("train", fold.train), ("val", fold.val))
    }
    rows, weights = [], []
    for data in (fold, replace(fold, **copied)):
        seen = []
        trained = train_classifier(hyperparameters, data, None, seen.append, tmp_path)
        rows.append([row["val_loss"] for row in seen])
        weights.append(trained.classifier.model.get_weights())
    assert rows[0] == rows[1]
    assert all(np.array_equal(one, other) for one, other in zip(*weights, strict=True))
