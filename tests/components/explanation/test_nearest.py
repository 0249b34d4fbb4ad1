"""The nearest training images: an exact search in blocks, on what the last layer gets."""

import keras
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from components.explanation import nearest as module
from components.explanation.nearest import nearest, training_images, vectors
from components.model.classifier import build_classifier, outputs
from components.model.head import head_layers

# The files that use the fixture `learned` run in one process, so that it is trained once.
pytestmark = pytest.mark.xdist_group("explanation")


@pytest.mark.parametrize(("block", "queries"), [(8192, 256), (7, 3), (1, 1)])
def test_the_search_is_exact_whatever_the_blocks(block, queries, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(module, "QUERIES", queries)
    generator = np.random.default_rng(1)
    known = generator.normal(size=(50, 6)).astype(np.float32)
    asked = generator.normal(size=(11, 6)).astype(np.float32)
    expected = NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute").fit(known)
    distances, indices = expected.kneighbors(asked)
    found = nearest(asked, known, 5)
    assert (found.indices.dtype, found.distances.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, atol=1e-6)


def test_of_equal_vectors_the_first_is_taken(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2)
    known = np.array([[0, 1], [1, 0], [2, 0], [0, 0], [3, 0]], np.float32)
    found = nearest(np.array([[1, 0]], np.float32), known, 4)
    assert found.indices.tolist() == [[1, 2, 4, 0]]
    assert found.distances.tolist() == [[0, 0, 0, 1]]


def test_few_known_vectors_and_no_query_are_no_error():
    known = np.eye(3, dtype=np.float32)
    assert nearest(known[:1], known, 9).indices.tolist() == [[0, 1, 2]]
    assert nearest(known[:0], known, 2).indices.shape == (0, 2)
    assert nearest(known[:1], known[:0], 2).distances.shape == (1, 0)


def test_a_vector_is_what_the_layer_logits_gets(params, tmp_path, tiny_backbone):
    keras.utils.set_random_seed(1)
    model = params.model.model_copy(update={"hidden": (6,), "batch_norm": True})
    classifier = build_classifier(model, ("a", "b"), 16, "squash")
    images = np.random.default_rng(1).integers(0, 256, (9, 16, 16, 3), np.uint8)
    found = vectors(classifier, images)
    assert found.shape == (9, 6)
    kernel, bias = head_layers(classifier.model)[-1].get_weights()
    expected = outputs(classifier.logits_model, images)
    np.testing.assert_allclose(found @ kernel + bias, expected, atol=1e-4)
    train = training_images(classifier, images, list("aabbaabba"), tmp_path)
    np.testing.assert_allclose(train.vectors, found, atol=1e-4)
    assert (train.labels, train.images is images) == (list("aabbaabba"), True)


def test_the_nearest_images_of_unseen_digits_mostly_show_the_same_digit(learned, tmp_path):
    names = [str(label) for label in learned.train.labels]
    train = training_images(learned.classifier, learned.train.inputs, names, tmp_path)
    found = nearest(vectors(learned.classifier, learned.test.inputs), train.vectors, 1)
    same = learned.train.labels[found.indices[:, 0]] == learned.test.labels
    assert same.mean() > 0.8
    assert found.distances.min() > 0
    itself = nearest(train.vectors[:20], train.vectors, 1)
    assert itself.distances.max() < 1e-5
