import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.conformal import (
    fewest_residuals,
    grouped_bounds,
    measure_coverage,
    residual_bounds,
)


def test_bounds_are_order_statistics_with_the_finite_sample_correction():
    residuals = np.random.default_rng(0).permutation(np.arange(1.0, 20.0))
    # n = 19: the 2nd smallest and 2nd largest hold 80 % of a new residual.
    assert residual_bounds(residuals, 0.8) == (2.0, 18.0)
    # n = 9 is the fewest: the extremes themselves
    assert residual_bounds(np.arange(9.0), 0.8) == (0.0, 8.0)


@pytest.mark.parametrize(("level", "needed"), [(0.8, 9), (0.5, 3), (0.9, 19), (0.99, 199)])
def test_fewer_residuals_than_a_tail_needs_are_refused_with_the_number(level, needed):
    assert fewest_residuals(level) == needed
    residual_bounds(np.arange(float(needed)), level)
    with pytest.raises(ValueError, match=f"of level {level:g}: it needs {needed} finite ones"):
        residual_bounds(np.arange(needed - 1.0), level)


def test_what_promises_nothing_is_refused():
    with pytest.raises(ValueError, match=r"level 1\.0 of an interval"):
        residual_bounds(np.arange(9.0), 1.0)
    with pytest.raises(ValueError, match="1 of them not finite"):
        residual_bounds(np.r_[np.arange(20.0), np.nan], 0.8)


@given(st.integers(9, 300), st.sampled_from([0.5, 0.6, 0.8]), st.integers(0, 50))
def test_at_least_the_level_of_exchangeable_places_is_held(n, level, seed):
    # A new residual is equally likely to fall into each of the n + 1 gaps: count those inside.
    residuals = np.random.default_rng(seed).permutation(np.arange(1.0, n + 1))
    below, above = residual_bounds(residuals, level)
    gaps = above - below
    assert gaps / (n + 1) >= level - 1e-9
    assert gaps / (n + 1) <= level + 2 / (n + 1) + 1e-9


def test_small_samples_keep_the_promise_where_plain_quantiles_break_it():
    rng, held, plain = np.random.default_rng(7), 0, 0
    for _ in range(8_000):
        *seen, new = rng.standard_t(3, 10)
        below, above = residual_bounds(np.array(seen), 0.8)
        held += below <= new <= above
        low, high = np.quantile(seen, [0.1, 0.9])
        plain += low <= new <= high
    assert held / 8_000 == pytest.approx(0.8, abs=0.015)
    assert plain / 8_000 < 0.7


def wild_and_calm(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Residuals that grow faster than the volatility they were divided by."""
    rng = np.random.default_rng(seed)
    volatility = rng.lognormal(0.0, 0.5, n)
    return rng.normal(size=n) * volatility, volatility


def test_groups_of_volatility_hold_their_level_each_where_one_bound_does_not():
    residuals, volatility = wild_and_calm(6000, 1)
    new, known = wild_and_calm(6000, 2)
    lower, upper = grouped_bounds(residuals, volatility, 0.8).at(known)
    inside = (new >= lower) & (new <= upper)
    pooled = residual_bounds(residuals, 0.8)
    third = np.digitize(known, np.quantile(known, [1 / 3, 2 / 3]))
    shares = [inside[third == g].mean() for g in range(3)]
    assert shares == pytest.approx([0.8, 0.8, 0.8], abs=0.04)
    single = [((new >= pooled[0]) & (new <= pooled[1]))[third == g].mean() for g in range(3)]
    assert single[0] > 0.9
    assert single[2] < 0.7


def test_a_group_holds_the_bounds_of_its_own_residuals():
    volatility = np.repeat([1.0, 2.0, 3.0], 9)
    residuals = np.concatenate([np.arange(9.0), 10 * np.arange(9.0), 100 * np.arange(9.0)])
    found = grouped_bounds(residuals, volatility, 0.8)
    assert found.bounds == ((0.0, 8.0), (0.0, 80.0), (0.0, 800.0))
    lower, upper = found.at(np.array([0.1, 1.0, 1.9, 2.0, 9.0, np.nan]))
    assert upper[:5].tolist() == [8.0, 8.0, 80.0, 80.0, 800.0]
    assert math.isnan(lower[5])
    assert math.isnan(upper[5])


def test_one_volatility_is_one_group_and_a_thin_group_is_refused():
    assert grouped_bounds(np.arange(9.0), np.ones(9), 0.8).bounds == ((0.0, 8.0),)
    with pytest.raises(ValueError, match="6 residuals"):
        grouped_bounds(np.arange(18.0), np.arange(18.0), 0.8)


def test_coverage_is_measured_with_its_two_sides_and_its_doubt():
    known_at = np.repeat(np.arange(100), 2)
    realised = np.tile([-2.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0], 20)
    bound = np.ones(200)
    found = measure_coverage(known_at, realised, -bound, bound, 0.8)
    assert found.measured.value == pytest.approx(0.8)
    assert (found.below, found.above, found.mean_width) == pytest.approx((0.1, 0.1, 2.0))
    assert found.measured.lower < 0.8 < found.measured.upper
    assert found.kept
    assert found.as_json()["kept"] is True


def test_an_interval_that_is_too_narrow_for_its_promise_is_told():
    rng = np.random.default_rng(4)
    realised, bound = rng.normal(size=3000), np.ones(3000)
    broken = measure_coverage(np.arange(3000), realised, -bound, bound, 0.8)
    assert broken.measured.value == pytest.approx(0.683, abs=0.03)
    assert not broken.kept
    with pytest.raises(ValueError, match="must be finite"):
        measure_coverage(np.arange(3000), realised, -bound, bound * np.nan, 0.8)
