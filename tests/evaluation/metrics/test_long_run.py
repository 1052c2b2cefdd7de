import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics.long_run import long_run_variance


def persistent(weight: float, bars: int, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    noise, values = np.random.default_rng(seed).normal(size=bars), np.zeros(bars)
    for i in range(1, bars):
        values[i] = weight * values[i - 1] + noise[i]
    return values + mean


def slow_long_run_variance(values: list[float], lags: int) -> float:
    n, mean = len(values), sum(values) / len(values)
    total = 0.0
    for i in range(n):
        for j in range(n):
            if abs(i - j) <= lags:
                weight = 1 - abs(i - j) / (lags + 1)
                total += weight * (values[i] - mean) * (values[j] - mean)
    return total / n


@given(st.integers(2, 25), st.integers(0, 30), st.integers(0, 1000))
def test_the_long_run_variance_is_that_of_its_plain_twin_and_never_negative(n, lags, seed) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    slow = slow_long_run_variance(values.tolist(), min(lags, n - 1))
    assert long_run_variance(values, lags) == pytest.approx(slow, abs=1e-12)
    assert long_run_variance(values, lags) >= -1e-15


def test_the_lags_follow_the_memory_and_the_variance_its_theory() -> None:
    # the spectrum of an AR(1) at frequency zero is 1 / (1 - w)^2
    found = long_run_variance(persistent(0.5, 100_000))
    assert found == pytest.approx(4.0, rel=0.05)
    assert long_run_variance(persistent(0.0, 100_000)) == pytest.approx(1.0, rel=0.05)
