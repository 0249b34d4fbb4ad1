"""Images of many requests share batches; places bound what waits; one failure harms one batch."""

import threading
import time
from concurrent.futures import wait

import numpy as np
import pytest

from components.serving.batching import Batcher, BusyError, best_size, build_batcher
from components.serving.model import Model

IMAGE = np.zeros((2, 2, 3), np.uint8)


class Network:
    """A network whose probabilities are the first pixel; it can be held, and notes its batches."""

    def __init__(self) -> None:
        self.free, self.batches = threading.Event(), []
        self.free.set()

    def __call__(self, images):
        self.batches.append(len(images))
        assert self.free.wait(10)
        if images[0, 0, 0, 0] == 99:
            raise ValueError("broken")
        return images[:, 0, 0, :].astype(np.float32)


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def batcher(network):
    # A batch of 4 takes as long as one image, and a batch of 2 does not pay.
    made = Batcher(network, {1: 1.0, 2: 3.0, 4: 1.0}, places=8, wait_s=0.2)
    yield made
    network.free.set()
    made.close()
    made.join()


def send(batcher, *values):
    batcher.reserve(len(values))
    return [batcher.submit(np.full_like(IMAGE, value)) for value in values]


def test_each_image_gets_its_own_row_and_what_waits_shares_a_batch(batcher, network):
    network.free.clear()
    first = send(batcher, 1)
    while not network.batches:
        time.sleep(0.001)
    others = send(batcher, 2, 3) + send(batcher, 4)
    network.free.set()
    values = [future.result(10).probabilities[0] for future in first + others]
    assert values == [1, 2, 3, 4]
    assert network.batches == [1, 3]
    assert others[0].result().images == 3
    assert batcher.taken == 0


def test_one_image_waits_for_no_other(batcher):
    [future] = send(batcher, 7)
    assert future.result(10).waited_s < 0.1


def test_the_next_requests_of_the_same_senders_share_a_batch(batcher, network):
    """When a batch ends, its senders need a moment to send again."""
    for future in send(batcher, 1, 2, 3):
        future.result(10)
    [first] = send(batcher, 1)
    time.sleep(0.02)
    second, third = send(batcher, 2, 3)
    wait([first, second, third])
    assert network.batches[-1] == 3
    [alone] = send(batcher, 4)
    assert 0.15 < alone.result(10).waited_s < 5  # the others never came
    [again] = send(batcher, 5)
    assert again.result(10).waited_s < 0.1


def test_a_batch_waits_for_images_that_are_decoded_but_not_for_ever(batcher, network):
    batcher.reserve(1)
    [early] = send(batcher, 1)
    time.sleep(0.02)
    assert not network.batches  # it waits for the reserved one
    late = batcher.submit(IMAGE)
    wait([early, late])
    assert network.batches == [2]
    batcher.reserve(1)
    [alone] = send(batcher, 1)
    assert 0.15 < alone.result(10).waited_s < 5  # that one never came
    batcher.give_back(1)


def test_places_are_taken_from_reserve_until_the_output(batcher, network):
    network.free.clear()
    futures = send(batcher, *range(7))
    batcher.reserve(1)
    with pytest.raises(BusyError):
        batcher.reserve(1)
    batcher.give_back(1)
    network.free.set()
    wait(futures)
    assert [future.result().probabilities[0] for future in futures] == list(range(7))
    batcher.reserve(8)
    batcher.give_back(8)


def test_a_failure_ends_its_batch_and_no_other(batcher):
    [broken] = send(batcher, 99)
    with pytest.raises(ValueError, match="broken"):
        broken.result(10)
    [fine] = send(batcher, 3)
    assert fine.result(10).probabilities[0] == 3


def test_cancelled_images_are_not_computed(batcher, network):
    network.free.clear()
    first = send(batcher, 1)
    while not network.batches:
        time.sleep(0.001)
    left, kept = send(batcher, 2, 3)
    assert left.cancel()
    network.free.set()
    assert kept.result(10).probabilities[0] == 3
    wait(first)
    assert network.batches == [1, 1]


def test_closing_computes_what_waits(network):
    batcher = Batcher(network, {1: 1.0}, places=8, wait_s=0.0)
    network.free.clear()
    futures = send(batcher, 1, 2, 3)
    batcher.close()
    with pytest.raises(BusyError):
        batcher.reserve(1)
    network.free.set()
    batcher.join()
    assert [future.done() for future in futures] == [True] * 3
    assert not batcher.is_alive()
    with pytest.raises(BusyError):
        batcher.reserve(1)


@pytest.mark.parametrize(
    ("waiting", "expected"), [(1, 1), (2, 1), (3, 8), (8, 8), (9, 8), (31, 32), (40, 32)]
)
def test_a_batch_has_the_size_that_needs_least_for_each_image(waiting, expected):
    assert best_size({1: 1.0, 8: 2.5, 32: 9.0}, waiting) == expected


def test_a_batch_gives_the_probabilities_of_the_model(model: Model):
    batcher = build_batcher(model, 0.0)
    size = model.classifier.size
    images = np.random.default_rng(1).integers(0, 256, (11, size, size, 3), np.uint8)
    batcher.reserve(len(images))
    outputs = [batcher.submit(image).result(60) for image in images]
    found = np.stack([output.probabilities for output in outputs])
    np.testing.assert_allclose(found, model.probabilities(images), atol=1e-5)
    assert batcher.places == 1024
    batcher.close()
