"""MixUp and CutMix: the pixels and the labels of two images, in the same shares."""

import numpy as np
import pytest

from components.training.batches import Stream
from components.training.mixing import Mixing, build_mixing
from components.training_set.examples import Balance, Examples

SIZE = 600  # images of a batch


def balance(*weights: float) -> Balance:
    counts = np.full(len(weights), SIZE // len(weights))
    return Balance(counts, np.array(weights, np.float32), np.zeros(len(weights), np.float32))


def stream(mixing: Mixing | None, weights: tuple[float, ...] = (1, 1, 1), seed: int = 7) -> Stream:
    """Grey images; the level is 80 times the class, so that it says in which shares they are."""
    labels = np.arange(SIZE) % len(weights)
    images = (
        np.zeros((SIZE, 16, 16, 3), np.uint8) + (80 * labels).astype(np.uint8)[:, None, None, None]
    )
    return Stream(Examples(images, labels), balance(*weights), SIZE, seed, None, mixing=mixing)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (1.0, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_labels_have_the_shares_of_the_pixels(mixup: float, cutmix: float) -> None:
    for index in range(3):
        images, labels, weights = stream(Mixing(mixup, cutmix, 9, 3)).batch(index)
        assert (images.dtype, labels.dtype, labels.shape) == (np.uint8, np.float32, (SIZE, 3))
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(weights, 1, atol=1e-6)
        np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), labels @ [0, 80, 160], atol=0.51)


def test_lambda_has_the_distribution_of_the_paper_for_each_image() -> None:
    """Beta(alpha, alpha): its mean is 1 / 2, and its variance 1 / (4 * (2 * alpha + 1))."""
    for alpha in (0.2, 1.0, 4.0):
        mixing = Mixing(alpha, 0.0, 9, 2)
        images = np.full((20_000, 1, 1, 3), 0, np.uint8)
        _, shares = mixing.mix(images, images, np.arange(20_000), 20_000, np.random.default_rng(1))
        assert shares.mean() == pytest.approx(0.5, abs=0.01)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_cutmix_replaces_one_rectangle_anywhere() -> None:
    images, others = np.zeros((500, 32, 32, 3), np.uint8), np.full((500, 32, 32, 3), 255, np.uint8)
    mixing = Mixing(0.0, 1.0, 9, 2)
    mixed, shares = mixing.mix(images, others, np.arange(500), 500, np.random.default_rng(1))
    places = np.zeros((32, 32))
    for image, share in zip(mixed, shares, strict=True):
        white = (image == 255).all(axis=2)
        assert white.mean() == pytest.approx(1 - share)
        if white.any():
            (top, left), (bottom, right) = np.argwhere(white)[[0, -1]]
            assert white[top : bottom + 1, left : right + 1].all()
        places += white
    assert places.min() > 30
    # With a large alpha, lambda is 1 / 2; a rectangle that is inside of the image has this area.
    _, shares = Mixing(0.0, 1e6, 9, 2).mix(
        images, others, np.arange(500), 500, np.random.default_rng(1)
    )
    assert 1 - shares.min() == pytest.approx(0.5, abs=0.03)


def test_each_batch_is_mixed_by_one_of_both() -> None:
    """A blend of levels 0 and 160 has a level between them; a pasted part has none."""
    both = stream(Mixing(0.4, 1.0, 200, 3))
    pasted = [set(np.unique(both.batch(index)[0])) <= {0, 80, 160} for index in range(100)]
    assert 35 < sum(pasted) < 65


def test_each_of_both_has_its_own_alpha() -> None:
    """With a large alpha lambda is 1 / 2, and with a small one nearly 0 or 1."""
    images, others = np.zeros((200, 32, 32, 3), np.uint8), np.full((200, 32, 32, 3), 255, np.uint8)
    pasted = 0
    for seed in range(10):
        generator = np.random.default_rng(seed)
        mixed, shares = Mixing(1e6, 0.001, 9, 2).mix(images, others, np.arange(200), 200, generator)
        cut = set(np.unique(mixed)) <= {0, 255}
        assert (abs(shares - 0.5) < 0.01).mean() == pytest.approx(0 if cut else 1, abs=0.05)
        pasted += cut
    assert 0 < pasted < 10


def test_a_batch_depends_on_the_seed_and_its_index_alone() -> None:
    mixing = Mixing(0.4, 1.0, 9, 3)
    forward, backward = stream(mixing), stream(mixing)
    batches = [forward.batch(index) for index in range(3)]
    for index in (2, 1, 0):
        for one, two in zip(batches[index], backward.batch(index), strict=True):
            np.testing.assert_array_equal(one, two)
    assert not np.array_equal(batches[0][1], stream(mixing, seed=8).batch(0)[1])


def test_after_the_last_mixed_batch_images_are_those_of_no_mixing() -> None:
    images, labels, weights = stream(Mixing(0.4, 1.0, 2, 3), (0.5, 1, 2)).batch(2)
    plain = stream(None, (0.5, 1, 2)).batch(2)
    np.testing.assert_array_equal(images, plain[0])
    np.testing.assert_array_equal(labels, np.eye(3, dtype=np.float32)[plain[1]])
    np.testing.assert_array_equal(weights, plain[2])


def test_class_weights_belong_to_the_part_of_their_class() -> None:
    """Weight times label is the share of a class times its weight, as in the mean of two losses."""
    mixing, class_weights = Mixing(0.4, 0.0, 9, 3), (0.5, 1.0, 4.0)
    _, even, _ = stream(mixing).batch(0)
    _, labels, weights = stream(mixing, class_weights).batch(0)
    np.testing.assert_allclose(weights[:, None] * labels, even * class_weights, rtol=1e-5)
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-5)


def test_the_training_images_stay_as_they_are() -> None:
    mixed = stream(Mixing(0.0, 1.0, 9, 3))
    before = mixed.examples.inputs.copy()
    mixed.batch(0)
    np.testing.assert_array_equal(mixed.examples.inputs, before)


def test_params_switch_mixing_off_after_a_share_of_the_epochs(params) -> None:
    finetune = params.train.finetune.model_copy(update={"epochs": 10})
    train = params.train.model_copy(update={"finetune": finetune, "mixup": 0.2, "mix_until": 0.75})
    assert build_mixing(train, 3, 5) == Mixing(0.2, 0.0, 8 * 5, 3)
    assert build_mixing(params.train, 3, 5) is None
    assert build_mixing(train.model_copy(update={"mix_until": 0.0}), 3, 5) is None
