"""SMOTE: new features lie between two images of their class, and only where they are missing."""

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE

from components.training.smote import with_synthetic
from components.training_set.examples import Examples

TARGETS = np.array([30, 30, 30, 30])


@pytest.fixture(scope="module")
def features() -> Examples:
    """Classes of 30, 8, 2 and 1 images, each with two variants of 3 features."""
    labels = np.repeat(np.arange(4), (30, 8, 2, 1))
    generator = np.random.default_rng(1)
    first = generator.normal(size=(41, 3)) + 10 * labels[:, np.newaxis]
    inputs = np.concatenate([first, 100 + generator.normal(size=(41, 3))]).astype(np.float32)
    return Examples(inputs, np.tile(labels, 2))


@pytest.fixture(scope="module")
def more(features: Examples) -> Examples:
    return with_synthetic(features, TARGETS, variants=2, seed=3)


def test_every_class_reaches_its_target_but_one_with_a_single_image(more):
    images = len(more) // 2
    assert np.bincount(more.labels[:images]).tolist() == [30, 30, 30, 1]
    np.testing.assert_array_equal(more.labels[:images], more.labels[images:])


def test_the_images_come_first_and_keep_their_variants(features, more):
    images = len(more) // 2
    assert more.inputs.dtype == np.float32
    np.testing.assert_array_equal(more.inputs[:41], features.inputs[:41])
    np.testing.assert_array_equal(more.inputs[images : images + 41], features.inputs[41:])


def test_a_new_example_lies_on_the_line_between_two_images_of_its_class(features, more):
    """In all variants at the same place of the line between the same two images."""
    images = len(more) // 2
    both = np.hstack([features.inputs[:41], features.inputs[41:]])
    made = np.hstack([more.inputs[:images], more.inputs[images:]])[41:]
    assert len(made) == 22 + 28
    for row, label in zip(made, more.labels[41:images], strict=True):
        members = both[features.labels[:41] == label]
        nearest = min(
            abs(
                row - (a + (b - a) * np.dot(row - a, b - a) / max(np.dot(b - a, b - a), 1e-9))
            ).max()
            for a in members
            for b in members
            if a is not b
        )
        assert nearest < 1e-4


def test_the_method_is_that_of_imbalanced_learn_with_the_5_nearest_images(features, more):
    images = len(more) // 2
    rows, labels = np.hstack([features.inputs[:41], features.inputs[41:]]), features.labels[:41]
    method = SMOTE(sampling_strategy={1: 30}, k_neighbors=5, random_state=3)
    expected = method.fit_resample(rows, labels)[0][41:]
    made = np.hstack([more.inputs[:images], more.inputs[images:]])[41:]
    np.testing.assert_array_equal(made[more.labels[41:images] == 1], expected)


def test_the_seed_alone_decides(features, more):
    np.testing.assert_array_equal(with_synthetic(features, TARGETS, 2, 3).inputs, more.inputs)
    assert not np.array_equal(with_synthetic(features, TARGETS, 2, 4).inputs, more.inputs)
