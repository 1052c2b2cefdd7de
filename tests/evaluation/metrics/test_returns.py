import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import metrics

HOURS = 8760.0


def test_returns_start_from_the_capital() -> None:
    assert metrics.bar_returns(np.array([100.0, 110.0, 99.0])).tolist() == pytest.approx(
        [0.1, -0.1]
    )
    assert metrics.total_return(np.array([100.0, 110.0, 99.0])) == pytest.approx(-0.01)


def test_a_bankruptcy_leaves_no_returns_behind_it() -> None:
    returns = metrics.bar_returns(np.array([100.0, 0.0, 0.0]))
    assert returns[0] == -1.0
    assert math.isnan(returns[1])
    assert math.isnan(metrics.annual_return(np.array([100.0, 0.0]), HOURS))
    assert math.isnan(metrics.exposure(np.array([1.0]), np.array([0.0])))


def test_annual_return_compounds_over_24_7_bars() -> None:
    equity = np.linspace(100.0, 121.0, 2 * 8760 + 1)
    assert metrics.annual_return(equity, HOURS) == pytest.approx(0.1)


def test_a_doubling_in_an_hour_has_no_annual_figure() -> None:
    assert math.isnan(metrics.annual_return(np.array([1.0, 2.0]), HOURS))


def test_volatility_by_hand() -> None:
    returns = np.array([0.01, -0.01, 0.02, 0.0])
    # mean 0.005, sample deviation 0.0129099
    assert metrics.volatility(returns, HOURS) == pytest.approx(
        0.0129099 * math.sqrt(8760), rel=1e-5
    )
    assert math.isnan(metrics.volatility(np.array([0.1]), HOURS))


@given(st.floats(-0.5, 0.5), st.integers(2, 60))
def test_equal_returns_have_no_volatility_at_all(value: float, size: int) -> None:
    assert metrics.volatility(np.full(size, value), HOURS) == 0.0


def test_turnover_counts_both_sides_a_year() -> None:
    assert metrics.turnover(200.0, np.full(8761, 100.0), HOURS) == pytest.approx(2.0)


def test_exposure_is_the_mean_share_held() -> None:
    assert metrics.exposure(np.array([50.0, 0.0]), np.array([100.0, 100.0])) == 0.25
    assert metrics.exposure(np.array([-50.0, 0.0]), np.array([100.0, 100.0])) == -0.25
