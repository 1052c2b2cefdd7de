import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import metrics


def test_value_at_risk_is_a_loss() -> None:
    # the 5 % quantile of -0.10, -0.09, ..., 0.10 lies one step in: -0.09
    returns = np.arange(-10, 11) / 100
    assert metrics.value_at_risk(returns) == pytest.approx(0.09)
    assert metrics.expected_shortfall(returns) == pytest.approx(0.095)
    assert metrics.value_at_risk(returns, tail=0.5) == pytest.approx(0.0)


def test_a_record_that_never_lost_has_a_negative_value_at_risk() -> None:
    assert metrics.value_at_risk(np.array([0.01, 0.02, 0.03])) == pytest.approx(-0.011)


def test_the_tail_ratio_weighs_good_bars_against_bad_ones() -> None:
    returns = np.concatenate([np.arange(-10, 1) / 100, 2 * np.arange(1, 11) / 100])
    assert metrics.tail_ratio(returns) == pytest.approx(2.0)


def test_skew_and_kurtosis_by_hand() -> None:
    # of 0, 0, 0, 4: centred -1, -1, -1, 3; m2 = 3, m3 = 6, m4 = 21
    returns = np.array([0.0, 0.0, 0.0, 4.0])
    assert metrics.skew(returns) == pytest.approx(6 / 3**1.5)
    assert metrics.kurtosis(returns) == pytest.approx(21 / 9 - 3)


def test_what_does_not_vary_has_no_shape() -> None:
    constant = np.full(7, 0.1)
    assert math.isnan(metrics.skew(constant))
    assert math.isnan(metrics.kurtosis(constant))
    assert math.isnan(metrics.skew(np.array([0.1])))
    assert math.isnan(metrics.tail_ratio(np.zeros(5)))


def test_without_bars_there_is_no_tail() -> None:
    none = np.array([])
    for figure in (metrics.value_at_risk, metrics.expected_shortfall, metrics.tail_ratio):
        assert math.isnan(figure(none))
    assert math.isnan(metrics.expected_shortfall(np.array([0.1, math.nan])))


@given(st.lists(st.floats(-0.9, 0.9), min_size=1, max_size=80))
def test_the_mean_beyond_the_value_at_risk_is_no_smaller_loss(values: list[float]) -> None:
    returns = np.array(values)
    beyond = metrics.expected_shortfall(returns)
    assert beyond >= metrics.value_at_risk(returns) - 1e-12
    assert beyond <= -min(values) + 1e-12
