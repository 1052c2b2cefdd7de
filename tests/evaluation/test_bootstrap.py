import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.bootstrap import FAN_STEPS, monte_carlo, optimal_block

_BITS = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15


def mixed(state: int) -> int:
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _BITS
    return z ^ (z >> 31)


def slow_path(returns: list[float], seed: int, path: int, block_bars: float) -> list[int]:
    """The bars one path is made of, in plain Python integers."""
    state = mixed((mixed((seed + _GAMMA) & _BITS) + path * _GAMMA) & _BITS)

    def uniform() -> float:
        nonlocal state
        state = (state + _GAMMA) & _BITS
        return (mixed(state) >> 11) / 2**53

    n, places = len(returns), []
    for bar in range(n):
        drawn, probability = uniform(), 1 / block_bars if bar else 1.0
        starts = drawn < probability
        places.append(int(drawn / probability * n) if starts else (places[-1] + 1) % n)
    return places


def slow_outcome(returns: list[float], places: list[int]) -> tuple[float, float]:
    level, peak, deepest = 1.0, 1.0, 0.0
    for place in places:
        level *= 1 + returns[place]
        peak = max(peak, level)
        deepest = min(deepest, level / peak - 1)
    return level - 1, deepest


def record(bars: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(4, bars) * 0.004


@settings(max_examples=30, deadline=None)
@given(
    bars=st.integers(8, 60),
    seed=st.integers(0, 2**31),
    block_bars=st.sampled_from([1.0, 1.5, 7.0, 200.0]),
)
def test_the_compiled_paths_are_those_of_the_plain_twin(bars, seed, block_bars) -> None:
    returns = record(bars, seed % 1000)
    fast = monte_carlo(returns, paths=5, seed=seed, block_bars=block_bars)
    for path in range(5):
        places = slow_path(returns.tolist(), seed, path, block_bars)
        total, deepest = slow_outcome(returns.tolist(), places)
        assert fast.total_return[path] == pytest.approx(total, abs=1e-12)
        assert fast.max_drawdown[path] == pytest.approx(deepest, abs=1e-12)


def test_the_blocks_of_a_path_are_of_geometric_length() -> None:
    returns, mean = [0.0] * 4000, 5.0
    lengths = []
    for path in range(40):
        places = np.array(slow_path(returns, 3, path, mean))
        starts = np.flatnonzero(np.diff(places, prepend=-9) % 4000 != 1)
        lengths.append(np.diff(starts))
    found = np.concatenate(lengths)
    assert found.mean() == pytest.approx(mean, rel=0.03)
    for length in range(1, 6):
        share = 0.2 * 0.8 ** (length - 1)
        assert np.mean(found == length) == pytest.approx(share, abs=0.01)


def test_the_mean_of_all_paths_is_the_mean_of_the_record() -> None:
    returns = record(500)
    log_growth = np.log1p(monte_carlo(returns, paths=20_000, block_bars=4.0).total_return)
    expected = np.log1p(returns).sum()
    assert log_growth.mean() == pytest.approx(
        expected, abs=4 * log_growth.std() / math.sqrt(20_000)
    )
    assert log_growth.std() == pytest.approx(np.log1p(returns).std() * math.sqrt(500), rel=0.1)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_seed_means_the_same_paths_whatever_the_threads(threads: int) -> None:
    returns = record(300)
    known = monte_carlo(returns, paths=1000, seed=11, block_bars=3.0, threads=3)
    again = monte_carlo(returns, paths=1000, seed=11, block_bars=3.0, threads=threads)
    assert np.array_equal(again.total_return, known.total_return)
    assert np.array_equal(again.max_drawdown, known.max_drawdown)
    assert again.fan.equals(known.fan)
    assert again.summary == known.summary
    other = monte_carlo(returns, paths=1000, seed=12, block_bars=3.0)
    assert not np.array_equal(other.total_return, known.total_return)


def test_a_record_that_always_gains_has_one_future() -> None:
    found = monte_carlo(np.full(10, 0.01), paths=50)
    assert found.block_bars == 1.0
    assert found.total_return == pytest.approx(np.full(50, 1.01**10 - 1))
    assert found.max_drawdown.tolist() == [0.0] * 50
    assert found.summary["probability_of_loss"] == 0.0
    assert found.fan["step"].to_list() == list(range(11))
    assert found.fan["p05"].to_list() == pytest.approx([1.01**step for step in range(11)])


def test_the_fan_opens_and_ends_in_the_distribution_of_returns() -> None:
    found = monte_carlo(record(2000), paths=4000)
    fan = found.fan
    assert fan.columns == ["step", "p05", "p25", "p50", "p75", "p95"]
    assert fan.height == FAN_STEPS + 1
    assert fan.row(0) == (0, 1.0, 1.0, 1.0, 1.0, 1.0)
    assert fan["step"][-1] == 2000
    ends = np.quantile(1 + found.total_return, [0.05, 0.5, 0.95])
    assert fan.row(-1)[1::2] == pytest.approx([ends[0], ends[1], ends[2]], rel=1e-3)
    assert found.summary["return_p50"] == pytest.approx(ends[1] - 1)


def test_the_summary_counts_paths_that_lose_and_paths_that_fall_deep() -> None:
    found = monte_carlo(record(1500, seed=4), paths=3000)
    told = found.summary
    assert told["probability_of_loss"] == np.mean(found.total_return < 0)
    assert told["probability_of_drawdown_10"] == np.mean(found.max_drawdown < -0.10)
    depths = [told[f"probability_of_drawdown_{d}"] for d in (5, 10, 20, 30, 50)]
    assert depths == sorted(depths, reverse=True)
    assert 0 < told["probability_of_drawdown_20"] < 1
    assert told["drawdown_p05"] < told["drawdown_p50"] < told["drawdown_p95"] <= 0


def test_a_bankruptcy_in_the_record_is_the_end_of_every_path_that_meets_it() -> None:
    returns = np.array([0.1, -1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    found = monte_carlo(returns, paths=500, block_bars=2.0)
    assert set(np.unique(found.total_return <= -1.0)) == {True, False}
    assert found.total_return.min() == -1.0
    assert found.summary["return_p50"] == -1.0
    assert found.fan["p05"][-1] == 0.0


def autoregressive(weight: float, bars: int = 20_000) -> np.ndarray:
    noise, values = np.random.default_rng(0).normal(size=bars), np.zeros(bars)
    for i in range(1, bars):
        values[i] = weight * values[i - 1] + noise[i]
    return values


def test_the_block_of_an_autoregression_is_what_its_theory_says() -> None:
    # R(k) ~ w^k: G = 2 w / (1 - w)^2 and the spectrum (1 + w) / (1 - w), both over 1 - w^2.
    weight, n = 0.5, 20_000
    slope, spectrum = 2 * weight / (1 - weight) ** 2, (1 + weight) / (1 - weight)
    expected = (n * slope**2 / spectrum**2) ** (1 / 3)
    assert expected == pytest.approx(32.88, abs=0.01)
    assert optimal_block(autoregressive(weight)) == pytest.approx(expected, rel=0.15)


def test_the_more_values_remember_the_longer_the_blocks() -> None:
    lengths = [optimal_block(autoregressive(weight, 5000)) for weight in (0.0, 0.3, 0.6, 0.9)]
    assert lengths == sorted(lengths)
    assert lengths[0] < 5
    assert 30 < lengths[-1] <= math.ceil(3 * math.sqrt(5000))
    assert optimal_block(np.full(100, 0.25)) == 1.0


def test_clusters_of_volatility_lengthen_the_blocks_of_a_bootstrap() -> None:
    rng = np.random.default_rng(2)
    storm = np.repeat(np.where(rng.random(100) < 0.3, 0.02, 0.002), 50)
    returns = rng.normal(size=5000) * storm
    assert optimal_block(returns) < 5
    assert monte_carlo(returns, paths=10).block_bars == optimal_block(np.abs(returns)) > 20


@pytest.mark.parametrize(
    ("returns", "options", "said"),
    [
        ([0.1] * 7, {}, r"8 bar returns or more, got \(7,\)"),
        ([0.1] * 8 + [math.nan], {}, "nan of bar 8"),
        ([0.1, -1.5] * 8, {}, "-1.5 of bar 1"),
        ([0.1] * 8, {"paths": 0}, "0 paths"),
        ([0.1] * 8, {"block_bars": 0.5}, r"blocks of 0\.5 bars"),
    ],
)
def test_what_cannot_be_resampled_is_refused(returns, options, said) -> None:
    with pytest.raises(ValueError, match=said):
        monte_carlo(np.array(returns), **options)
