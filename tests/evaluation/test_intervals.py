import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.intervals import (
    accuracy_interval,
    bootstrap_interval,
    mean_interval,
    per_instant,
    resampled_means,
    sharpe_interval,
    skill_interval,
)
from evaluation.metrics import sharpe

_BITS = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15


def mixed(state: int) -> int:
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _BITS
    return z ^ (z >> 31)


def slow_places(n: int, seed: int, path: int, block_bars: float) -> list[int]:
    """The rows one path is made of, in plain Python integers."""
    state = mixed((mixed((seed + _GAMMA) & _BITS) + path * _GAMMA) & _BITS)
    places: list[int] = []
    for bar in range(n):
        state = (state + _GAMMA) & _BITS
        drawn = (mixed(state) >> 11) / 2**53
        probability = 1 / block_bars if bar else 1.0
        starts = drawn < probability
        places.append(int(drawn / probability * n) if starts else (places[-1] + 1) % n)
    return places


def persistent(weight: float, bars: int, seed: int = 0) -> np.ndarray:
    noise, values = np.random.default_rng(seed).normal(size=bars), np.zeros(bars)
    for i in range(1, bars):
        values[i] = weight * values[i - 1] + noise[i]
    return values


@given(
    n=st.integers(1, 40),
    k=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    block_bars=st.sampled_from([1.0, 3.0, 50.0]),
)
@settings(max_examples=30, deadline=None)
def test_the_compiled_means_are_those_of_the_plain_twin(n, k, seed, block_bars) -> None:
    values = np.random.default_rng(seed).normal(size=(n, k))
    fast = resampled_means(values, block_bars=block_bars, paths=4, seed=seed)
    for path in range(4):
        slow = values[slow_places(n, seed, path, block_bars)].mean(axis=0)
        assert fast[path].tolist() == pytest.approx(slow.tolist(), abs=1e-12)


def test_rows_of_one_instant_are_one_observation() -> None:
    known_at = np.array([30, 10, 10, 20])
    sums = per_instant(known_at, np.array([1.0, 2.0, 4.0, 8.0]), np.array([1, 0, 1, 1]))
    assert sums.tolist() == [[6.0, 1.0, 2.0], [8.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    with pytest.raises(ValueError, match="column 1 has shape"):
        per_instant(known_at, np.ones(4), np.ones(3))
    with pytest.raises(ValueError, match="1 values that are not finite"):
        per_instant(known_at, np.array([1.0, np.nan, 1.0, 1.0]))


def test_symbols_that_move_together_are_not_more_evidence() -> None:
    hits = np.random.default_rng(1).random(400) < 0.55
    alone = accuracy_interval(np.arange(400), hits)
    together = accuracy_interval(np.repeat(np.arange(400), 10), np.repeat(hits, 10))
    assert alone.value == together.value == pytest.approx(np.mean(hits))
    assert (together.lower, together.upper) == pytest.approx((alone.lower, alone.upper))


@pytest.mark.parametrize("weight", [0.0, 0.6])
def test_nine_of_ten_intervals_hold_the_mean_also_where_neighbours_are_alike(weight) -> None:
    held, naive, known_at = 0, 0, np.arange(2000)
    for seed in range(150):
        values = persistent(weight, 2000, seed)
        found = mean_interval(known_at, values, paths=300)
        held += found.lower <= 0.0 <= found.upper
        found = mean_interval(known_at, values, paths=300, block_bars=1.0)
        naive += found.lower <= 0.0 <= found.upper
    assert held / 150 == pytest.approx(0.9, abs=0.05)
    assert naive / 150 < 0.65 or weight == 0.0


def test_an_interval_is_as_wide_as_theory_says() -> None:
    noise = np.random.default_rng(4).normal(size=5000)
    found = mean_interval(np.arange(5000), noise, level=0.95, block_bars=1.0, paths=4000)
    half = 1.959964 * noise.std() / math.sqrt(5000)
    assert found.lower == pytest.approx(noise.mean() - half, abs=0.1 * half)
    assert found.upper == pytest.approx(noise.mean() + half, abs=0.1 * half)
    assert found.as_json() == {
        "value": pytest.approx(noise.mean()),
        "lower": found.lower,
        "upper": found.upper,
        "level": 0.95,
        "block_bars": 1.0,
        "paths": 4000,
    }


def test_blocks_are_as_long_as_the_memory_but_never_shorter_than_asked() -> None:
    known_at = np.arange(2000)
    assert mean_interval(known_at, persistent(0.9, 2000)).block_bars > 20
    white = persistent(0.0, 2000)
    assert mean_interval(known_at, white).block_bars < 5
    assert mean_interval(known_at, white, shortest_block=24.0).block_bars == 24.0
    assert mean_interval(known_at, white, block_bars=2.0, shortest_block=24.0).block_bars == 2.0


def test_the_sharpe_interval_holds_the_ratio_and_has_the_width_of_lo() -> None:
    record = np.random.default_rng(3).normal(0.05, 1.0, 4000)
    found = sharpe_interval(record, 8760.0, level=0.95, paths=4000)
    assert found.value == pytest.approx(sharpe(record, 8760.0))
    half = 1.959964 * math.sqrt(8760 / 4000)
    assert found.lower == pytest.approx(found.value - half, abs=0.1 * half)
    assert found.upper == pytest.approx(found.value + half, abs=0.1 * half)
    with pytest.raises(ValueError, match="have no Sharpe ratio"):
        sharpe_interval(np.full(50, 0.01), 8760.0)


def test_a_smaller_loss_than_the_baseline_is_positive_skill() -> None:
    rng = np.random.default_rng(2)
    base = rng.random(1000) + 1.0
    better = skill_interval(np.arange(1000), base - 0.1 - 0.2 * rng.normal(size=1000), base)
    assert better.value == pytest.approx(0.1, abs=0.02)
    assert better.lower > 0
    worse = skill_interval(np.arange(1000), base + 0.1 + 0.2 * rng.normal(size=1000), base)
    assert worse.upper < 0


def test_a_mirrored_interval_is_the_reflection_of_the_quantiles() -> None:
    values = np.random.default_rng(5).exponential(size=(300, 1))
    how = {"driver": values[:, 0], "seed": 3}

    def statistic(means: np.ndarray) -> np.ndarray:
        return means[..., 0] ** 3

    plain = bootstrap_interval(values, statistic, **how)
    mirrored = bootstrap_interval(values, statistic, **how, kind="basic")
    assert mirrored.lower == pytest.approx(2 * plain.value - plain.upper)
    assert mirrored.upper == pytest.approx(2 * plain.value - plain.lower)


@pytest.mark.parametrize(
    ("values", "level"),
    [(np.ones((7, 1)), 0.9), (np.full((9, 1), np.nan), 0.9), (np.ones((9, 1)), 1.0)],
)
def test_what_gives_no_interval_is_refused(values: np.ndarray, level: float) -> None:
    with pytest.raises(ValueError, match="an interval needs 8 instants or more"):
        bootstrap_interval(values, lambda m: m[..., 0], driver=values[:, 0], level=level)
