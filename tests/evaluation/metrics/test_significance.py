import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import metrics

HOURS = 8760.0


def returns(mean: float = 0.001, bars: int = 4000) -> np.ndarray:
    return np.random.default_rng(3).normal(mean, 0.02, bars)


def test_the_error_of_normal_returns_is_that_of_lo() -> None:
    # two equally likely values: skewness 0, kurtosis 1, so the shape term is exactly 1
    coin = np.tile([0.02, -0.01], 50)
    assert metrics.sharpe_error(coin, 1.0) == pytest.approx(1 / math.sqrt(99))
    # sqrt((1 + s^2 / 2) / T) on normal returns, s = 1 a bar
    normal = np.random.default_rng(1).normal(1.0, 1.0, 200_000)
    assert metrics.sharpe_error(normal, 1.0) == pytest.approx(math.sqrt(1.5 / 200_000), rel=0.01)


def test_the_error_covers_what_repetition_shows() -> None:
    rng = np.random.default_rng(4)
    draws = np.exp(rng.normal(0, 0.6, (3000, 300))) - 1.0
    found = [metrics.sharpe(draw, 1.0) for draw in draws]
    claimed = [metrics.sharpe_error(draw, 1.0) for draw in draws]
    assert np.mean(claimed) == pytest.approx(np.std(found), rel=0.06)


def test_a_sharpe_ratio_equal_to_the_benchmark_proves_nothing() -> None:
    record = returns()
    assert metrics.probabilistic_sharpe(
        record, HOURS, metrics.sharpe(record, HOURS)
    ) == pytest.approx(0.5)


def test_a_longer_record_proves_more() -> None:
    short, long = np.tile([0.02, -0.019], 200), np.tile([0.02, -0.019], 20_000)
    assert 0.5 < metrics.probabilistic_sharpe(short, HOURS) < 0.8
    assert metrics.probabilistic_sharpe(long, HOURS) > 0.99


def test_the_published_example_of_the_best_of_a_hundred_trials() -> None:
    # Bailey and Lopez de Prado (2014), section "A numerical example": V = 1/2 annual, N = 100, 250 days
    assert metrics.expected_maximum_sharpe(100, 0.5) / math.sqrt(250) == pytest.approx(
        0.1132, abs=5e-5
    )


def test_the_best_of_many_draws_is_where_it_is_expected() -> None:
    best = np.random.default_rng(8).normal(0, 2.0, (4000, 50)).max(axis=1).mean()
    assert metrics.expected_maximum_sharpe(50, 4.0) == pytest.approx(best, rel=0.02)


def test_one_trial_is_not_deflated_and_many_are() -> None:
    record = returns()
    plain = metrics.probabilistic_sharpe(record, HOURS)
    assert metrics.deflated_sharpe(record, HOURS, trials=1, trial_variance=4.0) == plain
    assert metrics.deflated_sharpe(record, HOURS, trials=200, trial_variance=4.0) < plain


def test_no_trials_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0 trials with variance 1\.0"):
        metrics.expected_maximum_sharpe(0, 1.0)
    with pytest.raises(ValueError, match="variance nan"):
        metrics.expected_maximum_sharpe(3, math.nan)


def test_without_a_ratio_there_is_no_error() -> None:
    assert math.isnan(metrics.sharpe_error(np.zeros(5), HOURS))
    assert math.isnan(metrics.probabilistic_sharpe(np.zeros(5), HOURS))


@given(st.integers(2, 10_000), st.floats(0.0, 100.0))
def test_more_trials_raise_the_bar(trials: int, variance: float) -> None:
    fewer, more = (metrics.expected_maximum_sharpe(n, variance) for n in (trials, trials + 1))
    assert 0 <= fewer <= more
