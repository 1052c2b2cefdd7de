"""The tail of a day's largest value: what it promises of days to come, and what it needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.drift.tail import FEWEST_DAYS, Tail, fit_tail


def test_a_tail_by_hand() -> None:
    """Ten of sixty days go beyond 0, by 1 to 10; they touch in two stretches."""
    largest = np.zeros(60)
    largest[10:15], largest[30:35] = [1, 2, 3, 4, 5], [6, 7, 8, 9, 10]
    assert fit_tail(largest) == Tail(threshold=0.0, share=11 / 61, mean_excess=5.5, clusters=2.0)


def test_chances_and_cuts_by_hand() -> None:
    tail = Tail(threshold=1.0, share=0.1, mean_excess=2.0, clusters=4.0)
    assert tail.chance(0.5) == 0.1
    assert tail.chance(9.0) == pytest.approx(0.1 * 2.0**-4)
    assert tail.cut(0.1 * 3.0**-4) == pytest.approx(1.0 + 4 * 2 * 2)


@given(
    st.floats(-5, 5),
    st.floats(0.01, 3),
    st.integers(1, 60),
    st.floats(1e-5, 0.0999),
)
def test_the_cut_of_a_level_is_gone_beyond_with_that_chance(threshold, excess, clusters, level):
    tail = Tail(threshold, 0.1, excess, float(clusters))
    assert tail.chance(tail.cut(level)) == pytest.approx(level, rel=1e-6)


def test_days_to_come_exceed_their_cut_as_often_as_promised() -> None:
    """Exponential days: a new day beyond the cut of 1 %, also for cuts learned from few days."""
    rng = np.random.default_rng(3)
    for days in (100, 400):
        cuts = np.array([fit_tail(rng.exponential(size=days)).cut(0.01) for _ in range(2000)])
        assert np.exp(-cuts).mean() == pytest.approx(0.01, rel=0.2)


def test_too_few_days_are_refused_with_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"holds 59 days .*; 60 are needed .*train_days higher"):
        fit_tail(np.zeros(FEWEST_DAYS - 1))


def test_days_that_are_all_alike_may_still_move_a_little() -> None:
    tail = fit_tail(np.ones(100))
    assert 1.0 < tail.cut(0.001) < 3.0
