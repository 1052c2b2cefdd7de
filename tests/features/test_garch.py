"""GARCH: the filter is the recursion, the fit prefers the parameters that made the data, and no future."""

import math

import numpy as np
import pytest

from features.garch import CANDIDATES, filter_variance

BLOCK = 168


def simulated(a: float, b: float, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    h, returns = 1e-4, []
    for shock in rng.normal(size=n):
        returns.append(math.sqrt(h) * shock)
        h = (1 - a - b) * 1e-4 + a * returns[-1] ** 2 + b * h
    return np.array(returns)


def likelihood(r: np.ndarray, a: float, b: float) -> tuple[float, float]:
    target = float(np.mean(r**2))
    h, total = target, 0.0
    for value in r:
        total -= math.log(h) + value**2 / h
        h = (1 - a - b) * target + a * value**2 + b * h
    return total, h


def test_the_variance_of_a_block_is_the_recursion_with_the_likeliest_parameters_of_two_before() -> (
    None
):
    r = simulated(0.1, 0.85, 4 * BLOCK, 3)
    now, ahead, level = (x[0] for x in filter_variance(r[None], 0, BLOCK, CANDIDATES))
    past = r[: 2 * BLOCK]
    a, b = max(CANDIDATES.tolist(), key=lambda pair: likelihood(past, *pair)[0])
    h = likelihood(past, a, b)[1]
    assert np.isnan(ahead[: 2 * BLOCK]).all()
    for i in range(2 * BLOCK, 3 * BLOCK):
        assert now[i] == pytest.approx(h, rel=1e-12)
        h = (1 - a - b) * np.mean(past**2) + a * r[i] ** 2 + b * h
        assert ahead[i] == pytest.approx(h, rel=1e-12)
    assert level[2 * BLOCK] == pytest.approx(np.mean(past**2))


def test_the_fit_tells_lasting_from_short_lived_clusters() -> None:
    pairs = np.array([[0.03, 0.95], [0.30, 0.30]])
    for made, other in ((0, 1), (1, 0)):
        r = simulated(*pairs[made], 3 * BLOCK, 11)[None]
        both = filter_variance(r, 0, BLOCK, pairs)[1]
        np.testing.assert_array_equal(both, filter_variance(r, 0, BLOCK, pairs[[made]])[1])
        assert np.nanmax(np.abs(both - filter_variance(r, 0, BLOCK, pairs[[other]])[1])) > 0


def test_nothing_after_a_bar_and_nothing_three_blocks_before_it_counts() -> None:
    r = simulated(0.1, 0.85, 5 * BLOCK, 7)[None]
    whole = filter_variance(r, 100, BLOCK, CANDIDATES)[1]
    changed = r.copy()
    changed[0, 700:] *= 50
    np.testing.assert_array_equal(
        filter_variance(changed, 100, BLOCK, CANDIDATES)[1][0, :700], whole[0, :700]
    )
    cut = 150
    later = filter_variance(np.ascontiguousarray(r[:, cut:]), 100 + cut, BLOCK, CANDIDATES)[1]
    np.testing.assert_array_equal(later[:, 3 * BLOCK :], whole[:, cut + 3 * BLOCK :])


def test_a_block_without_returns_before_it_has_no_variance() -> None:
    r = simulated(0.1, 0.85, 3 * BLOCK, 1)[None]
    r[0, :20] = np.nan
    assert np.isnan(filter_variance(r, 0, BLOCK, CANDIDATES)[1]).all()
    assert np.isnan(filter_variance(np.zeros((1, 3 * BLOCK)), 0, BLOCK, CANDIDATES)[1]).all()
