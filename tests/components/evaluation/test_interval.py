"""The interval of repeated trainings that share images."""

import numpy as np
import pytest

from components.evaluation.interval import corrected_interval

FREE = (-np.inf, np.inf)


def test_the_interval_is_wider_than_that_of_independent_samples():
    differences = np.array([0.01, 0.02, 0.03, 0.02, 0.02])
    narrow, wide = (corrected_interval(differences, share, 0.95, FREE) for share in (0.0, 0.25))
    # By hand: s = 0.00707, t(4) = 2.776; s * √(1/5) * t = 0.00878, s * √(1/5 + 1/4) * t = 0.01317
    assert (narrow.low, wide.low) == pytest.approx((0.02 - 0.00878, 0.02 - 0.01317), abs=1e-4)


def test_no_end_of_an_interval_is_beyond_what_a_difference_can_be():
    interval = corrected_interval(np.array([0.0, 0.4]), 0.25, 0.95, (-1.0, 1.0))
    assert (interval.low, interval.high) == (-1.0, 1.0)
