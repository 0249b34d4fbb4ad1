import numpy as np
import pytest

from components.evaluation import near
from components.evaluation.near import training_similarity
from components.images.fingerprints import compare, fingerprint, spectra, stack


def prints(count: int, seed: int):
    generator = np.random.default_rng(seed)
    return [fingerprint(generator.integers(0, 256, (32, 32), np.uint8)) for _ in range(count)]


def test_the_similarity_is_that_of_the_search_for_copies_without_a_rotation():
    test, training = prints(3, 1), prints(4, 2)
    training[2] = test[1]
    found = training_similarity(test, training)
    assert found[1] == 1
    for image, value in zip(test, found, strict=True):
        pairs = [spectra(stack([each] * 4)) for each in (image,)]
        highest = compare(pairs[0], spectra(stack(training)), turned=False).similarity.max()
        assert value <= highest + 1e-4  # the search also turns by up to 10 degrees
        exact = np.fft.irfft(pairs[0]) * np.fft.irfft(spectra(stack(training)))
        assert value == pytest.approx(exact.sum(axis=(1, 2)).max(), abs=1e-4)


def test_images_without_a_fingerprint_have_no_similarity():
    found = training_similarity([None, *prints(2, 3)], [*prints(2, 4), None])
    assert np.isnan(found).tolist() == [True, False, False]
    assert np.isnan(training_similarity(prints(2, 3), [None])).all()
    assert training_similarity([], prints(2, 3)).shape == (0,)


def test_blocks_and_a_bound_on_pairs_change_no_more_than_they_say(monkeypatch):
    test, training = prints(7, 5), prints(9, 6)
    whole = training_similarity(test, training)
    monkeypatch.setattr(near, "CELLS", 18)
    assert np.array_equal(training_similarity(test, training), whole)
    monkeypatch.setattr(near, "MOST_PAIRS", 35)  # of 63: every second training image
    assert np.array_equal(
        training_similarity(test, training), training_similarity(test, training[::2])
    )
