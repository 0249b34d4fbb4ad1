"""The stream of training batches: which images, how often, how changed."""

from itertools import islice

import numpy as np
import pytest

from components.training.augmentation import build_augmentation
from components.training.batches import epoch_order, steps_per_epoch, training_batches
from components.training_set.examples import Balance, Examples

LABELS = np.array([0] * 12 + [1] * 4, np.int64)


def balance(*targets: int) -> Balance:
    return Balance(np.array(targets), np.ones(2, np.float32), np.zeros(2, np.float32))


@pytest.fixture
def examples() -> Examples:
    images = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 3), np.uint8)
    return Examples(images, LABELS)


def test_every_image_is_seen_once_an_epoch():
    order = epoch_order(LABELS, np.array([12, 4]), np.random.default_rng(1))
    assert sorted(order) == list(range(16))


def test_oversampling_shows_every_image_equally_often():
    order = epoch_order(LABELS, np.array([12, 12]), np.random.default_rng(1))
    assert np.bincount(order).tolist() == [1] * 12 + [3] * 4


def test_undersampling_draws_other_images_in_the_next_epoch():
    first, second = (
        set(epoch_order(LABELS, np.array([4, 4]), np.random.default_rng(seed))) for seed in (1, 2)
    )
    assert len(first) == len(second) == 8
    assert first != second


def test_the_stream_is_the_same_for_the_same_seed(examples, params):
    augmentation = params.train.augmentation.model_copy(update={"horizontal_flip": 0.5})
    one, two = (
        list(
            islice(
                training_batches(examples, balance(12, 4), 4, 7, build_augmentation(augmentation)),
                9,
            )
        )
        for _ in range(2)
    )
    for (images, labels, _), (images_again, labels_again, _) in zip(one, two, strict=True):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(labels, labels_again)


def test_an_image_is_augmented_anew_in_every_epoch(examples, params):
    single = Examples(examples.inputs[:1], LABELS[:1])
    augment = build_augmentation(params.train.augmentation)
    plan = Balance(np.array([1]), np.ones(1, np.float32), np.zeros(1, np.float32))
    epochs = [batch[0] for batch in islice(training_batches(single, plan, 1, 7, augment), 3)]
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])


def test_every_epoch_shows_all_images_in_an_order_of_its_own(examples):
    """A batch of 16 is an epoch here."""
    stream = training_batches(examples, balance(12, 4), 16, 7, None)
    epochs = [[image.tobytes() for image in images] for images, _, _ in islice(stream, 3)]
    assert len(set(epochs[0])) == 16
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
    assert len({tuple(order) for order in epochs}) == 3


def test_class_weights_travel_with_their_images(examples):
    weighted = Balance(np.array([12, 4]), np.array([0.5, 2.5], np.float32), np.zeros(2, np.float32))
    _, labels, weights = next(iter(training_batches(examples, weighted, 16, 7, None)))
    np.testing.assert_array_equal(weights, np.where(labels == 0, 0.5, 2.5).astype(np.float32))


def test_labels_stay_with_their_images(examples):
    batches = islice(training_batches(examples, balance(12, 4), 4, 7, None), 8)
    for images, labels, _ in batches:
        for image, label in zip(images, labels, strict=True):
            index = next(i for i in range(16) if np.array_equal(examples.inputs[i], image))
            assert LABELS[index] == label


def test_steps_are_the_nearest_whole_number_of_batches():
    assert steps_per_epoch(balance(12, 4), 5) == 3
    assert steps_per_epoch(balance(12, 4), 64) == 1


def test_augmentation_depends_on_image_and_generator_alone(examples, params):
    from concurrent.futures import ThreadPoolExecutor

    everything = dict.fromkeys(type(params.train.augmentation).model_fields, 0.3)
    augment = build_augmentation(type(params.train.augmentation)(**everything))

    def changed(seed: int) -> bytes:
        return augment(examples.inputs[0], np.random.default_rng(seed)).tobytes()

    expected = [changed(seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(changed, range(40))) == expected
    assert len(set(expected)) > 30


def test_no_augmentation_leaves_an_image_alone(examples, params):
    nothing = dict.fromkeys(type(params.train.augmentation).model_fields, 0.0)
    augment = build_augmentation(type(params.train.augmentation)(**nothing))
    changed = augment(examples.inputs[0], np.random.default_rng(1))
    np.testing.assert_array_equal(changed, examples.inputs[0])
