"""The average in the network while it is measured, and its statistics of batch normalisation."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from components.training.averaging import BATCHES, averaged, refresh_statistics
from components.training.batches import Stream


@pytest.fixture
def network() -> keras.Model:
    norm = keras.layers.BatchNormalization(momentum=0.5)
    return keras.Sequential([keras.Input((8, 8, 3)), norm, keras.layers.Dense(2)])


def test_the_average_is_in_the_network_only_while_it_is_measured(network) -> None:
    before = network.get_weights()
    averages = [keras.Variable(weight + 1) for weight in network.trainable_variables]
    refreshed = []
    with averaged(SimpleNamespace(averages=averages), network, lambda: refreshed.append(True)):
        for variable, average in zip(network.trainable_variables, averages, strict=True):
            np.testing.assert_array_equal(variable, average)
        network.layers[0].moving_mean.assign([7.0, 7.0, 7.0])
    assert refreshed == [True]
    for weight, start in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, start)


def test_without_an_average_nothing_happens(network) -> None:
    with averaged(SimpleNamespace(averages=[]), network, lambda: pytest.fail("refreshed")):
        pass


def test_statistics_become_the_means_over_the_first_batches(network, data) -> None:
    stream = Stream(data.train, data.balance, 12, 7, None)
    refresh_statistics(network, stream, steps=3)
    batches = [stream.batch(number)[0].astype(np.float64) for number in range(3)]
    norm = network.layers[0]
    means = [batch.mean(axis=(0, 1, 2)) for batch in batches]
    variances = [batch.var(axis=(0, 1, 2)) for batch in batches]
    np.testing.assert_allclose(norm.moving_mean, np.mean(means, axis=0), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, np.mean(variances, axis=0), rtol=1e-3)
    assert norm.momentum == 0.5
    assert BATCHES >= 3


def test_frozen_statistics_stay_and_no_batch_is_computed(network) -> None:
    network.layers[0].trainable = False
    before = network.get_weights()
    refresh_statistics(network, SimpleNamespace(batch=pytest.fail), steps=3)
    for weight, start in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, start)
