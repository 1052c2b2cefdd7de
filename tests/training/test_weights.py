"""Average uniqueness against its definition."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from training.weights import average_uniqueness, sample_weights

HOUR = timedelta(hours=1)
HOUR_US = 3_600_000_000


def slow_uniqueness(first, last, bars):
    alive = [sum(a <= bar <= b for a, b in zip(first, last, strict=True)) for bar in range(bars)]
    return [
        sum(1 / alive[bar] for bar in range(a, b + 1)) / (b - a + 1)
        for a, b in zip(first, last, strict=True)
    ]


def test_labels_that_share_no_bar_are_unique_and_shared_bars_are_halved():
    first, last = np.array([0, 2, 2]), np.array([1, 3, 3])
    assert average_uniqueness(first, last, 4).tolist() == [1.0, 0.5, 0.5]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), min_size=1, max_size=40))
@budget(max_examples=100)
def test_the_kernel_equals_its_slow_twin(spans):
    first = np.array([a for a, _ in spans])
    last = first + np.array([length for _, length in spans])
    fast = average_uniqueness(first, last, int(last.max()) + 1)
    assert fast == pytest.approx(
        slow_uniqueness(first.tolist(), last.tolist(), int(last.max()) + 1)
    )
    assert ((fast > 0) & (fast <= 1 + 1e-12)).all()


def test_symbols_do_not_share_bars():
    known_at = np.array([0, 0, HOUR_US]) + 1_700_000_000_000_000
    weights = sample_weights(np.array([0, 1, 1]), known_at, known_at + 2 * HOUR_US, timeframe=HOUR)
    assert weights == pytest.approx(np.array([1.0, 0.75, 0.75]) / np.mean([1.0, 0.75, 0.75]))


def test_decay_takes_the_oldest_sample_to_the_configured_share():
    known_at = np.arange(5) * 10 * HOUR_US
    weights = sample_weights(
        np.zeros(5, dtype=int), known_at, known_at + HOUR_US, timeframe=HOUR, time_decay=0.5
    )
    assert weights[0] / weights[-1] == pytest.approx(0.5)
    assert weights.mean() == pytest.approx(1.0)


def test_no_samples_have_no_weights():
    none = np.empty(0, dtype=np.int64)
    assert sample_weights(none, none, none, timeframe=HOUR).size == 0
