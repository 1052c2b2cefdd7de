import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import metrics

HOURS = 8760.0
RETURNS = np.array([0.01, -0.01, 0.02, 0.0])


def test_sharpe_by_hand() -> None:
    # mean 0.005, sample deviation 0.0129099
    assert metrics.sharpe(RETURNS, HOURS) == pytest.approx(0.3872983 * math.sqrt(8760), rel=1e-6)


def test_sortino_divides_by_the_downside_over_all_bars() -> None:
    # downside sqrt(0.0001 / 4) = 0.005
    assert metrics.sortino(RETURNS, HOURS) == pytest.approx(math.sqrt(8760))


def test_omega_and_gain_to_pain_weigh_gains_against_losses() -> None:
    assert metrics.omega(RETURNS) == pytest.approx(3.0)
    assert metrics.gain_to_pain(RETURNS) == pytest.approx(2.0)
    # above 0.01: 0.01; below: 0.02 + 0.01
    assert metrics.omega(RETURNS, threshold=0.01) == pytest.approx(1 / 3)


def test_what_divides_by_nothing_is_nan() -> None:
    flat = np.zeros(5)
    assert math.isnan(metrics.sharpe(flat, HOURS))
    assert math.isnan(metrics.sharpe(np.full(5, 0.1), HOURS))
    assert math.isnan(metrics.sharpe(np.array([0.1]), HOURS))
    assert math.isnan(metrics.sortino(flat, HOURS))
    assert math.isnan(metrics.sortino(np.array([]), HOURS))
    assert math.isnan(metrics.omega(flat))
    assert math.isnan(metrics.gain_to_pain(np.array([0.1])))


def test_a_return_that_is_not_known_leaves_no_ratio() -> None:
    broken = np.array([0.01, -1.0, math.nan])
    for figure in (metrics.sharpe(broken, HOURS), metrics.sortino(broken, HOURS)):
        assert math.isnan(figure)
    assert math.isnan(metrics.omega(broken))


@given(st.lists(st.floats(-0.5, 0.5).map(lambda x: round(x, 6)), min_size=2, max_size=60))
def test_signs_agree_with_the_mean(values: list[float]) -> None:
    returns = np.array(values)
    mean = float(np.mean(returns))
    for figure in (metrics.sharpe(returns, HOURS), metrics.sortino(returns, HOURS)):
        assert math.isnan(figure) or figure * mean >= 0
    gain = metrics.gain_to_pain(returns)
    assert math.isnan(gain) or gain == pytest.approx(metrics.omega(returns) - 1.0, abs=1e-9)
