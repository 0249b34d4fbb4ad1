"""The stream of training batches: which images, how often, how changed."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.params.augmentation import Augmentation
from components.training.augmentation import build_augmentation
from components.training.batches import Stream, epoch_order, steps_per_epoch
from components.training.mixing import Mixing
from components.training_set.examples import Balance, Examples

LABELS = np.array([0] * 12 + [1] * 4, np.int64)


def balance(*targets: int) -> Balance:
    return Balance(np.array(targets), np.ones(2, np.float32), np.zeros(2, np.float32))


def changes(**shares: float) -> Augmentation:
    """Return an augmentation that changes nothing but what `shares` names."""
    return Augmentation(**{**dict.fromkeys(Augmentation.model_fields, 0.0), **shares})


@pytest.fixture
def examples() -> Examples:
    images = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 3), np.uint8)
    return Examples(images, LABELS)


def test_every_image_is_seen_once_an_epoch():
    order = epoch_order(LABELS, np.array([12, 4]), np.random.default_rng(1))
    assert sorted(order) == list(range(16))


def test_an_epoch_mixes_the_classes():
    """Otherwise a batch would have images of one class only."""
    labels = np.repeat([0, 1], 50)
    order = epoch_order(labels, np.array([50, 50]), np.random.default_rng(1))
    assert 15 < labels[order[:50]].sum() < 35


def test_order_and_changes_have_numbers_of_their_own_for_each_seed_and_batch(examples, monkeypatch):
    used = []

    def seeded(seed):
        generator = np.random.Generator(np.random.PCG64(seed))
        used.append(generator.bit_generator.state["state"])
        return generator

    policy, mixing = build_augmentation(changes(rotate=20)), Mixing(0.4, 1.0, 9, 2)
    twice = Examples(np.tile(examples.inputs, (2, 1, 1, 1)), np.tile(LABELS, 2))
    monkeypatch.setattr(np.random, "default_rng", seeded)
    for seed in (7, 8):
        stream = Stream(twice, balance(12, 4), 16, seed, policy, variants=2, mixing=mixing)
        for index in range(3):  # A batch is an epoch here.
            stream.batch(index)
    assert len(used) == 24
    assert len({state["state"] for state in used}) == 24


def test_oversampling_shows_every_image_equally_often():
    order = epoch_order(LABELS, np.array([12, 12]), np.random.default_rng(1))
    assert np.bincount(order).tolist() == [1] * 12 + [3] * 4


def test_undersampling_draws_other_images_in_the_next_epoch():
    first, second = (
        set(epoch_order(LABELS, np.array([4, 4]), np.random.default_rng(seed))) for seed in (1, 2)
    )
    assert len(first) == len(second) == 8
    assert first != second


def test_a_batch_depends_on_the_seed_and_its_index_alone(examples):
    """Batches of 5 of 16 images: batches 3, 6 and 9 lie in two epochs."""
    policy = build_augmentation(changes(horizontal_flip=0.5, rotate=20, brightness=0.3))

    def stream(seed: int) -> Stream:
        return Stream(examples, balance(12, 4), 5, seed, policy)

    forward, backward = stream(7), stream(7)
    expected = [forward.batch(index) for index in range(10)]
    for index in reversed(range(10)):
        for one, two in zip(expected[index], backward.batch(index), strict=True):
            np.testing.assert_array_equal(one, two)
    assert not np.array_equal(expected[0][0], stream(8).batch(0)[0])


def test_an_image_is_augmented_anew_in_every_epoch(examples, params):
    single = Examples(examples.inputs[:1], LABELS[:1])
    plan = Balance(np.array([1]), np.ones(1, np.float32), np.zeros(1, np.float32))
    stream = Stream(single, plan, 1, 7, build_augmentation(params.train.augmentation))
    first, second, third = (stream.batch(index)[0] for index in range(3))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_equal_images_of_a_batch_are_changed_differently(examples):
    """An image draws its own numbers: no two of 64 copies turn, shift or fade alike."""
    same = Examples(np.repeat(examples.inputs[:1], 64, axis=0), np.zeros(64, np.int64))
    plan = Balance(np.array([64]), np.ones(1, np.float32), np.zeros(1, np.float32))
    for change in ({"rotate": 30}, {"shift": 0.4}, {"brightness": 0.5}, {"contrast": 0.5}):
        batch = Stream(same, plan, 64, 7, build_augmentation(changes(**change))).batch(0)[0]
        assert len({image.tobytes() for image in batch}) > 20, change


def test_every_epoch_shows_all_images_in_an_order_of_its_own(examples):
    """A batch of 16 is an epoch here."""
    stream = Stream(examples, balance(12, 4), 16, 7, None)
    epochs = [[image.tobytes() for image in stream.batch(index)[0]] for index in range(3)]
    assert len(set(epochs[0])) == 16
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
    assert len({tuple(order) for order in epochs}) == 3


def test_class_weights_travel_with_their_images(examples):
    weighted = Balance(np.array([12, 4]), np.array([0.5, 2.5], np.float32), np.zeros(2, np.float32))
    _, labels, weights = Stream(examples, weighted, 16, 7, None).batch(0)
    np.testing.assert_array_equal(weights, np.where(labels == 0, 0.5, 2.5).astype(np.float32))


def test_only_copies_of_minority_images_are_changed_twice(examples):
    """A batch of 24 is an epoch here; the 4 images of class 1 are drawn three times each."""

    class Brighter:
        draws = 1

        def change_by(self, images, numbers):
            assert len(images) == len(numbers)
            return images + np.uint8(1)

    dark = Examples(np.zeros_like(examples.inputs), LABELS)
    minority = replace(balance(12, 12), strategy="augment_minority")
    stream = Stream(dark, minority, 24, 7, Brighter())
    for epoch in range(2):
        images, labels, _ = stream.batch(epoch)
        changes_made = images[:, 0, 0, 0]
        assert changes_made[labels == 0].tolist() == [1] * 12
        assert sorted(changes_made[labels == 1].tolist()) == [1] * 4 + [2] * 8
    plain = Stream(dark, balance(12, 12), 24, 7, Brighter())
    assert set(plain.batch(0)[0].flat) == {1}


def test_machines_that_share_a_batch_change_the_same_copies(examples):
    policy = build_augmentation(changes(brightness=0.5))
    minority = replace(balance(12, 12), strategy="augment_minority")
    whole, *halves = (
        Stream(examples, minority, 24, 7, policy, share=share).batch(0)[0]
        for share in ((0, 1), (0, 2), (1, 2))
    )
    np.testing.assert_array_equal(np.concatenate(halves), whole)


def test_labels_stay_with_their_images(examples):
    stream = Stream(examples, balance(12, 4), 4, 7, None)
    for step in range(8):
        images, labels, _ = stream.batch(step)
        for image, label in zip(images, labels, strict=True):
            index = next(i for i in range(16) if np.array_equal(examples.inputs[i], image))
            assert LABELS[index] == label


@pytest.mark.parametrize("classes", [1, 2, 16])
def test_a_batch_may_be_larger_than_several_epochs(examples, classes):
    """All images are in it equally often, also one that is the only one of its class."""
    labels = np.arange(16) % classes
    targets = np.bincount(labels)
    plan = Balance(targets, np.ones(classes, np.float32), np.zeros(classes, np.float32))
    stream = Stream(Examples(examples.inputs, labels), plan, 50, 7, None)
    rows = np.concatenate([stream.rows(index) for index in range(8)])
    assert np.bincount(rows).tolist() == [25] * 16
    np.testing.assert_array_equal(stream.rows(0), rows[:50])


def test_steps_are_the_nearest_whole_number_of_batches():
    assert steps_per_epoch(balance(12, 4), 5) == 3
    assert steps_per_epoch(balance(12, 4), 64) == 1


def test_the_training_images_stay_as_they_are(examples):
    everything = Augmentation(**dict.fromkeys(Augmentation.model_fields, 0.3))
    before = examples.inputs.copy()
    Stream(examples, balance(12, 4), 16, 7, build_augmentation(everything)).batch(0)
    np.testing.assert_array_equal(examples.inputs, before)


def test_no_augmentation_leaves_an_image_alone(examples):
    changed = build_augmentation(changes()).change(examples.inputs, np.random.default_rng(1))
    np.testing.assert_array_equal(changed, examples.inputs)


def test_an_image_is_drawn_as_often_as_without_variants_and_in_any_of_them(examples):
    """48 rows: 16 images as they are, then view 1 of all images, then view 2."""
    rows = np.arange(48)[:, None]
    table = Examples(rows, np.tile(LABELS, 3))
    plan = balance(12, 8)
    plain = Stream(examples, plan, 5, 7, None)
    forward, backward = (Stream(table, plan, 5, 7, None, variants=3) for _ in range(2))
    drawn = [forward.rows(index) for index in range(40)]
    for index in reversed(range(40)):
        np.testing.assert_array_equal(drawn[index] % 16, plain.rows(index))
        np.testing.assert_array_equal(drawn[index], backward.rows(index))
        inputs, labels, _ = forward.batch(index)
        np.testing.assert_array_equal(labels, LABELS[inputs[:, 0] % 16])
    shares = np.bincount(np.concatenate(drawn) // 16) / 200
    np.testing.assert_allclose(shares, 1 / 3, atol=0.1)
    assert len({(image % 16, image // 16) for image in np.concatenate(drawn)}) == 48


def test_of_pixels_on_the_disk_a_process_is_sent_only_the_place(tmp_path: Path):
    """A part of a memory map, whose place is not that of the whole, is sent as pixels."""
    images = np.random.default_rng(1).integers(0, 256, (400, 8, 8, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    labels = np.zeros(200, np.int64)
    plan = Balance(np.array([200]), np.ones(1, np.float32), np.zeros(1, np.float32))
    for inputs in (mapped, mapped[200:], mapped[::-2]):
        stream = Stream(Examples(inputs, labels), plan, 50, 7, None)
        sent = pickle.dumps(stream)
        if inputs is mapped:
            assert len(sent) < images.nbytes / 10
        np.testing.assert_array_equal(pickle.loads(sent).batch(2)[0], stream.batch(2)[0])


def test_the_shares_of_several_machines_are_the_batch_of_one(examples: Examples) -> None:
    policy = build_augmentation(changes(horizontal_flip=0.5, rotate=20))
    for mixing in (None, Mixing(0.0, 1.0, 9, 2), Mixing(0.4, 0.0, 9, 2)):
        whole, *shares = (
            Stream(examples, balance(12, 4), 6, 7, policy, share=share, mixing=mixing).batch(5)
            for share in ((0, 1), (0, 3), (1, 3), (2, 3))
        )
        for part, *pieces in zip(whole, *shares, strict=True):
            np.testing.assert_array_equal(np.concatenate(pieces), part)
