"""The figures of an export: differences, agreement, accuracy, times."""

import numpy as np
import pytest

from components.errors import UserError
from components.evaluation.interval import counted_interval
from components.export.comparison import TIMED_BATCHES, WARM_UP, compare, latencies_ms

EXPECTED = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]], np.float32)
LABELS = np.array([0, 0, 1, 0])


def test_an_export_is_measured_against_the_labels_and_against_its_model() -> None:
    exported = np.array([[0.8, 0.2], [0.35, 0.65], [0.2, 0.8], [0.3, 0.7]], np.float32)
    comparison = compare(LABELS, EXPECTED, exported, 0.95)
    assert comparison.images == 4
    assert comparison.largest_difference == pytest.approx(0.25)
    assert comparison.agreement == counted_interval(3, 4, 0.95)
    assert comparison.accuracy == counted_interval(2, 4, 0.95)
    assert comparison.model_accuracy == counted_interval(3, 4, 0.95)
    assert comparison.drop == pytest.approx(0.25)


@pytest.mark.parametrize(
    "exported",
    [np.full((4, 2), np.nan, np.float32), np.ones((4, 3), np.float32)],
    ids=["no numbers", "other classes"],
)
def test_what_gives_no_probability_for_each_class_is_refused(exported: np.ndarray) -> None:
    with pytest.raises(UserError, match="gives no probability for some classes"):
        compare(LABELS, EXPECTED, exported, 0.95)


def test_a_model_that_predicts_no_numbers_is_not_compared() -> None:
    expected = EXPECTED.copy()
    expected[2, 0] = np.nan
    with pytest.raises(UserError, match=r"must give finite probabilities.* 1 of 4 images"):
        compare(LABELS, expected, EXPECTED, 0.95)


def test_a_time_is_that_of_a_whole_batch_after_the_first_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    clock = iter(range(10_000))

    def compute(batch: np.ndarray) -> np.ndarray:
        seen.append(len(batch))
        if seen.count(len(batch)) <= WARM_UP:  # these calls take 100 s
            for _ in range(100):
                next(clock)
        return batch

    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    times = latencies_ms(compute, np.zeros((3, 2, 2, 3), np.uint8))
    assert times == {1: 1000.0, 16: 1000.0}
    assert seen == [batch for batch, count in TIMED_BATCHES.items() for _ in range(WARM_UP + count)]
