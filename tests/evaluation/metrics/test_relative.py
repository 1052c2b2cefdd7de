import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import metrics

HOURS = 8760.0
BENCHMARK = np.array([0.01, -0.02, 0.03, 0.00])


def test_half_of_the_benchmark_and_a_constant_are_beta_and_alpha() -> None:
    alpha, beta = metrics.alpha_beta(0.5 * BENCHMARK + 0.0001, BENCHMARK, HOURS)
    assert beta == pytest.approx(0.5)
    assert alpha == pytest.approx(0.876)


def test_a_mirrored_record_has_beta_minus_one() -> None:
    figures = metrics.compare(-BENCHMARK, BENCHMARK, HOURS)
    assert figures["beta"] == pytest.approx(-1.0)
    assert figures["correlation"] == pytest.approx(-1.0)


def test_information_ratio_is_the_sharpe_ratio_of_the_difference() -> None:
    active = np.array([0.01, -0.01, 0.02, 0.0])
    assert metrics.information_ratio(BENCHMARK + active, BENCHMARK, HOURS) == pytest.approx(
        metrics.sharpe(active, HOURS)
    )


def test_a_record_that_is_the_benchmark_has_no_information_ratio() -> None:
    figures = metrics.compare(BENCHMARK, BENCHMARK, HOURS)
    assert figures["beta"] == pytest.approx(1.0)
    assert figures["alpha"] == pytest.approx(0.0)
    assert math.isnan(figures["information_ratio"])


def test_a_benchmark_that_stands_still_explains_nothing() -> None:
    assert all(math.isnan(x) for x in metrics.alpha_beta(BENCHMARK, np.full(4, 0.1), HOURS))


def test_other_bars_are_refused() -> None:
    with pytest.raises(ValueError, match="4 returns against 3 of the benchmark"):
        metrics.compare(BENCHMARK, BENCHMARK[:3], HOURS)
    with pytest.raises(ValueError, match="4 returns against 1"):
        metrics.information_ratio(BENCHMARK, BENCHMARK[:1], HOURS)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=40))
def test_the_regression_equals_least_squares(pairs: list[tuple[int, int]]) -> None:
    returns, benchmark = np.array(pairs, dtype=np.float64).T / 1000
    alpha, beta = metrics.alpha_beta(returns, benchmark, HOURS)
    if np.ptp(benchmark) == 0:
        assert math.isnan(beta)
        return
    slope, intercept = np.polynomial.polynomial.polyfit(benchmark, returns, 1)[::-1]
    assert beta == pytest.approx(slope, abs=1e-9)
    assert alpha == pytest.approx(intercept * HOURS, abs=1e-7)
