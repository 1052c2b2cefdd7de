import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluation.comparison.wealth import (
    SHARES,
    log_e_values,
    log_mixture,
    log_wealths,
    lower_bound,
    past_scales,
)

CAP, SCALE_BLOCKS = 6.0, 5

differences = arrays(
    np.float64, st.integers(1, 40), elements=st.integers(-100, 100).map(lambda n: n / 1000)
)


def e_values(blocks: np.ndarray, mean: float = 0.0) -> np.ndarray:
    return np.exp(log_e_values(blocks, mean=mean, cap=CAP, scale_blocks=SCALE_BLOCKS))


def test_three_blocks_by_hand() -> None:
    blocks = np.array([0.01, -0.02, 0.03])
    scales = past_scales(blocks, 1)
    # The first block sets the scale; then sqrt(0.01^2), sqrt((0.01^2 + 0.02^2) / 2).
    assert np.isnan(scales[0])
    np.testing.assert_allclose(scales[1:], [0.01, 0.0158113883], rtol=1e-9)
    # -0.02 is two scales down; 0.03 is 1.897 up. A fifth of the wealth, at a cap of four scales.
    wealth = np.exp(log_wealths(blocks, scales, 0.0, 4.0, (0.2, 0.8)))
    np.testing.assert_allclose(wealth[:, 0], [1.0, 0.9, 0.9 * 1.0948683298], rtol=1e-9)
    np.testing.assert_allclose(wealth[:, 1], [1.0, 0.6, 0.6 * 1.3794733192], rtol=1e-9)
    mixed = math.exp(log_mixture(np.log(wealth))[-1])
    assert mixed == pytest.approx((0.9 * 1.0948683298 + 0.6 * 1.3794733192) / 2, rel=1e-9)
    assert mixed == pytest.approx(0.906532744)


def test_what_is_beyond_the_cap_does_not_count() -> None:
    at_cap, beyond = np.array([0.01, 0.04]), np.array([0.01, 4.0])
    scales = past_scales(at_cap, 1)
    assert log_wealths(at_cap, scales, 0.0, 4.0, (0.5,))[-1] == pytest.approx(math.log(1.5))
    assert log_wealths(beyond, scales, 0.0, 4.0, (0.5,))[-1] == pytest.approx(math.log(1.5))


def test_blocks_that_never_differed_set_no_scale_and_are_not_bet_on() -> None:
    blocks = np.array([0.0, 0.0, 0.0, 0.01, 0.01])
    scales = past_scales(blocks, 2)
    assert np.isnan(scales[:4]).all()
    assert scales[4] == pytest.approx(0.005)
    np.testing.assert_array_equal(log_wealths(blocks, scales, 0.0, 6.0)[:4], 0.0)


def slow_e_value(blocks: list[float]) -> float:
    wealth = [1.0] * len(SHARES)
    for i, block in enumerate(blocks):
        scale = math.sqrt(sum(b * b for b in blocks[:i]) / i) if i >= SCALE_BLOCKS else 0.0
        if scale > 0.0:
            moved = min(max(block / scale, -CAP), CAP) / CAP
            wealth = [w * (1.0 + f * moved) for w, f in zip(wealth, SHARES, strict=True)]
    return sum(wealth) / len(wealth)


@given(differences)
def test_the_mixture_is_its_plain_twin(blocks: np.ndarray) -> None:
    assert e_values(blocks)[-1] == pytest.approx(slow_e_value(blocks.tolist()), rel=1e-9)


@given(differences)
def test_nothing_that_comes_later_changes_what_was_seen(blocks: np.ndarray) -> None:
    whole = log_e_values(blocks, cap=CAP, scale_blocks=SCALE_BLOCKS)
    for n in (1, blocks.size // 2 + 1, blocks.size):
        part = log_e_values(blocks[:n], cap=CAP, scale_blocks=SCALE_BLOCKS)
        np.testing.assert_allclose(part, whole[:n], rtol=0, atol=1e-12)


@given(differences, st.sampled_from([1e-4, 0.5, 3.0, 1e5]))
def test_the_unit_of_the_differences_changes_no_evidence_and_scales_the_bounds(
    blocks: np.ndarray, unit: float
) -> None:
    np.testing.assert_allclose(e_values(unit * blocks), e_values(blocks), rtol=1e-6)
    how = {"level": 0.4, "cap": CAP, "scale_blocks": SCALE_BLOCKS}
    bound, scaled = lower_bound(blocks, **how), lower_bound(unit * blocks, **how)
    assert (bound is None) == (scaled is None)
    if bound is not None:
        assert scaled == pytest.approx(unit * bound, rel=1e-6, abs=unit * 1e-12)


@given(differences, st.floats(0.0, 0.05))
def test_a_better_last_block_is_never_less_evidence(blocks: np.ndarray, more: float) -> None:
    better = blocks.copy()
    better[-1] += more
    assert e_values(better)[-1] >= e_values(blocks)[-1] * (1 - 1e-12)


@given(differences, st.floats(-0.05, 0.05), st.floats(0.0, 0.05))
def test_a_higher_hypothesis_has_no_more_against_it(
    blocks: np.ndarray, mean: float, step: float
) -> None:
    assert e_values(blocks, mean + step)[-1] <= e_values(blocks, mean)[-1] * (1 + 1e-12)


@settings(max_examples=40)
@given(differences, st.floats(0.01, 0.5))
def test_the_bound_is_where_the_e_value_crosses_the_level(blocks: np.ndarray, level: float) -> None:
    bound = lower_bound(blocks, level, cap=CAP, scale_blocks=SCALE_BLOCKS)
    if bound is None:
        assert e_values(blocks, -1e6)[-1] < 1 / level * (1 + 1e-9)
        return
    width = np.abs(blocks).max()
    assert e_values(blocks, bound - 1e-9 * width)[-1] >= 1 / level * (1 - 1e-6)
    assert e_values(blocks, bound + 1e-9 * width)[-1] <= 1 / level * (1 + 1e-6)


def test_the_order_of_blocks_matters_only_through_the_scales_before_them() -> None:
    rng = np.random.default_rng(4)
    blocks = np.abs(rng.normal(0.01, 0.002, 30)) * rng.choice([-1.0, 1.0], 30)
    scales = past_scales(blocks, SCALE_BLOCKS)
    fixed = np.where(np.isnan(scales), np.nan, 0.01)
    shuffled = blocks.copy()
    shuffled[SCALE_BLOCKS:] = rng.permutation(blocks[SCALE_BLOCKS:])
    one, other = (log_wealths(b, fixed, 0.0, CAP)[-1] for b in (blocks, shuffled))
    np.testing.assert_allclose(one, other, rtol=1e-9)
    assert e_values(blocks)[-1] != pytest.approx(e_values(shuffled)[-1], rel=1e-9)


def test_under_a_symmetric_null_no_mixture_is_expected_to_gain() -> None:
    rng = np.random.default_rng(11)
    ends = np.array([e_values(rng.standard_t(3, 60))[-1] for _ in range(1_500)])
    error = ends.std() / math.sqrt(ends.size)
    assert ends.mean() < 1.0 + 3.0 * error
    assert ends.mean() > 0.8, "a wealth that only shrinks would be no test"


def garch_differences(paths: int, days: int, annual_sharpe: float, seed: int) -> np.ndarray:
    """Hourly differences (days, paths), a day added up: GARCH(1,1), t(3) shocks, AR(0.2)."""
    rng = np.random.default_rng(seed)
    bars, burn = 24 * days, 300
    shocks = rng.standard_t(3, (bars + burn, paths)) / math.sqrt(3.0)
    variance, before = np.ones(paths), np.zeros(paths)
    moved = np.empty_like(shocks)
    for bar in range(bars + burn):
        innovation = np.sqrt(variance) * shocks[bar]
        variance = 0.01 + 0.08 * np.minimum(innovation**2, 400.0) + 0.91 * variance
        before = 0.2 * before + innovation
        moved[bar] = before
    summed: np.ndarray = moved[burn:].reshape(days, 24, paths).sum(axis=1)
    # In units of a day's standard deviation.
    return summed / summed.std() + annual_sharpe / math.sqrt(365.0)


def decided(days: np.ndarray, level: float = 0.05) -> tuple[int, int]:
    """How many paths are ever better, and ever worse, over all looks of a year."""
    wanted = math.log(2.0 / level)
    better, worse = (
        sum(
            bool((log_e_values(side * path, cap=CAP, scale_blocks=SCALE_BLOCKS) >= wanted).any())
            for path in days.T
        )
        for side in (1.0, -1.0)
    )
    return better, worse


def test_a_year_of_looks_at_equal_books_is_rarely_a_verdict_and_a_good_book_is_seen() -> None:
    paths = 200
    better, worse = decided(garch_differences(paths, 365, 0.0, seed=5))
    # Of 200 paths at a true rate of 5 %, as few as 3 or fewer are seen with probability 0.9 %.
    assert better + worse <= 3
    better, worse = decided(garch_differences(60, 365, 5.0, seed=6))
    assert better >= 40
    assert worse == 0


def test_the_shares_are_bets_that_cannot_ruin() -> None:
    assert max(SHARES) == 0.9
    assert min(SHARES) == pytest.approx(0.9 / 2**3.5)
