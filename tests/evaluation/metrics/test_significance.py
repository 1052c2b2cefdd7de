import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import metrics
from evaluation.metrics.long_run import long_run_variance
from evaluation.metrics.significance import (
    independent_sharpe_variance,
    sharpe_influence,
    track_record_needed,
)

HOURS = 8760.0


def returns(mean: float = 0.001, bars: int = 4000) -> np.ndarray:
    return np.random.default_rng(3).normal(mean, 0.02, bars)


def test_the_error_of_normal_returns_is_that_of_lo() -> None:
    # two equally likely values: skewness 0, kurtosis 1, so the shape term is exactly 1
    coin = np.tile([0.02, -0.01], 50)
    assert metrics.sharpe_error(coin, 1.0, lags=0) == pytest.approx(1 / math.sqrt(99))
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
    shuffle = np.random.default_rng(5).permutation
    short = shuffle(np.tile([0.02, -0.019], 200))
    long = shuffle(np.tile([0.02, -0.019], 20_000))
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


def persistent(weight: float, bars: int, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    noise, values = np.random.default_rng(seed).normal(size=bars), np.zeros(bars)
    for i in range(1, bars):
        values[i] = weight * values[i - 1] + noise[i]
    return values + mean


def test_the_influence_of_the_bars_has_the_variance_of_independent_bars() -> None:
    record = np.random.default_rng(2).standard_t(5, 500) * 0.01 + 0.002
    shape = independent_sharpe_variance(
        metrics.sharpe(record, 1.0), metrics.skew(record), metrics.kurtosis(record)
    )
    assert long_run_variance(sharpe_influence(record), 0) == pytest.approx(shape)
    assert metrics.sharpe_error(record, HOURS, lags=0) == pytest.approx(
        math.sqrt(shape / 499 * HOURS)
    )


@pytest.mark.parametrize(("weight", "too_small"), [(0.4, 0.75), (0.0, 1.1), (-0.3, 1.6)])
def test_the_error_covers_what_repetition_shows_when_neighbours_are_alike(
    weight, too_small
) -> None:
    draws = [persistent(weight, 1500, seed, 0.05) for seed in range(400)]
    spread = np.std([metrics.sharpe(draw, 1.0) for draw in draws])
    claimed = np.mean([metrics.sharpe_error(draw, 1.0) for draw in draws])
    independent = np.mean([metrics.sharpe_error(draw, 1.0, lags=0) for draw in draws])
    assert claimed == pytest.approx(spread, rel=0.12)
    # what taking bars as independent claims: too little for momentum, too much for reversal
    assert independent / spread < too_small


def test_the_published_track_records_that_prove_a_sharpe_of_two_to_be_above_one() -> None:
    # Bailey and Lopez de Prado (2012), section "Minimum track record length": 2.73 years of daily and
    # 3.24 of monthly normal returns; 4.99 years of monthly hedge fund returns (skewness -0.72,
    # kurtosis 5.78).
    def years(bars_a_year: float, skewness: float, kurtosis: float) -> float:
        bar = 2.0 / math.sqrt(bars_a_year)
        variance = independent_sharpe_variance(bar, skewness, kurtosis)
        return track_record_needed(bar / 2.0, variance) / bars_a_year

    assert years(252, 0.0, 0.0) == pytest.approx(2.73, abs=0.005)
    assert years(12, 0.0, 0.0) == pytest.approx(3.24, abs=0.005)
    assert years(12, -0.72, 2.78) == pytest.approx(4.99, abs=0.005)


def test_a_record_of_the_minimum_length_reaches_the_confidence() -> None:
    record = returns(0.0004, 4000)
    bars = metrics.minimum_track_record(record, HOURS, lags=0)
    shape = metrics.sharpe_error(record, HOURS, lags=0) * math.sqrt(3999)
    proof = metrics.sharpe(record, HOURS) / (shape / math.sqrt(bars - 1))
    assert proof == pytest.approx(1.6448536269514722)


def test_alike_neighbours_need_a_longer_record_and_a_loser_an_endless_one() -> None:
    record = persistent(0.4, 4000, 3, 0.2)
    alike = metrics.minimum_track_record(record, HOURS)
    assert alike > 1.5 * metrics.minimum_track_record(record, HOURS, lags=0)
    assert metrics.minimum_track_record(-record, HOURS) == math.inf
    assert math.isnan(metrics.minimum_track_record(np.zeros(9), HOURS))
    with pytest.raises(ValueError, match=r"between 0\.5 and 1"):
        metrics.minimum_track_record(record, HOURS, confidence=0.4)
