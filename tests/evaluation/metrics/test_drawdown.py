import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import metrics

HOURS = 8760.0


def test_drawdown_depth_and_length() -> None:
    equity = np.array([100.0, 120.0, 90.0, 110.0, 121.0, 120.0])
    assert metrics.max_drawdown(equity) == pytest.approx(-0.25)
    assert metrics.max_drawdown_bars(equity) == 2
    assert metrics.max_drawdown_bars(np.array([100.0, 101.0])) == 0
    assert metrics.max_drawdown_bars(np.array([100.0, 99.0, 98.0])) == 2


def test_calmar_is_growth_over_depth() -> None:
    equity = np.concatenate([[100.0, 80.0], np.linspace(80, 110, 8759)])
    assert metrics.calmar(equity, HOURS) == pytest.approx(0.1 / 0.2, rel=1e-3)


def test_recovery_is_what_was_earned_for_the_deepest_fall() -> None:
    assert metrics.recovery_factor(np.array([100.0, 80.0, 150.0])) == pytest.approx(0.5 / 0.2)


def test_ulcer_index_by_hand() -> None:
    # drawdowns at the closes: 0, -0.1, -0.2, 0
    equity = np.array([100.0, 100.0, 90.0, 80.0, 100.0])
    assert metrics.ulcer_index(equity) == pytest.approx(math.sqrt(0.05 / 4))


def test_without_a_fall_there_is_nothing_to_divide_by() -> None:
    rising = np.linspace(100.0, 101.0, 5)
    assert math.isnan(metrics.calmar(rising, HOURS))
    assert math.isnan(metrics.recovery_factor(rising))
    assert metrics.ulcer_index(rising) == 0.0
    assert math.isnan(metrics.ulcer_index(np.array([100.0])))
    assert math.isnan(metrics.max_drawdown(np.array([])))


@given(st.lists(st.floats(1.0, 1e6), min_size=2, max_size=50))
def test_drawdowns_lie_between_ruin_and_nothing(values: list[float]) -> None:
    equity = np.array(values)
    assert -1 <= metrics.max_drawdown(equity) <= 0
    assert 0 <= metrics.max_drawdown_bars(equity) <= equity.size - 1
    assert metrics.ulcer_index(equity) <= -metrics.max_drawdown(equity) + 1e-12


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=40))
def test_the_longest_stretch_under_water_equals_a_plain_count(values: list[float]) -> None:
    longest = stretch = 0
    for i, value in enumerate(values):
        stretch = stretch + 1 if value / max(values[: i + 1]) - 1.0 < 0 else 0
        longest = max(longest, stretch)
    assert metrics.max_drawdown_bars(np.array(values)) == longest
