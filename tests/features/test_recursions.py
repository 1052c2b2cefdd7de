"""Aligned recursions against the textbook loop over the bars of their run, and against TA-Lib."""

import numpy as np
import pytest
import talib

from features import recursions

BLOCK = 24
START = 480_011


def prices(n: int = 200, seed: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.standard_t(4, n).cumsum() * 0.01)
    wick = np.abs(rng.normal(0, 0.01, (2, n)))
    return close * (1 + wick[0]), close * (1 - wick[1]), close


def run_of(i: int) -> int:
    """Return the first bar of the run that bar `i` belongs to: the block before its own."""
    return i - (START + i) % BLOCK - BLOCK


def kaufman(close: np.ndarray, share: np.ndarray) -> float:
    mean = close[0]
    for price, efficiency in zip(close[1:], share[1:], strict=True):
        speed = (efficiency * (2 / 3 - 2 / 31) + 2 / 31) ** 2
        mean += speed * (price - mean)
    return mean


def test_the_adaptive_mean_is_kaufmans_from_the_beginning_of_the_block_before() -> None:
    _, _, close = prices()
    share = np.abs(np.sin(np.arange(close.size)))
    given = recursions.adaptive_mean(close[None], share[None], START, BLOCK, 2, 30)[0]
    for i in (60, 101, 150, 199):
        held = slice(run_of(i), i + 1)
        assert given[i] == pytest.approx(kaufman(close[held], share[held]), rel=1e-12)


def test_the_parabolic_stop_is_talibs_once_both_have_turned() -> None:
    high, low, _ = prices(800)
    given = recursions.parabolic_stop(high[None], low[None], START, 96, 0.02, 0.2)[0]
    expected = talib.SAR(high, low, 0.02, 0.2)
    # TA-Lib began at the first bar; after a turn or two neither knows where it began.
    assert np.isfinite(given[200:]).all()
    assert np.mean(np.isclose(given[200:], expected[200:], rtol=1e-9)) > 0.98


def slow_super_trend(high, low, close, reach) -> float:
    floor = ceiling = line = None
    rising, before = True, None
    for h, l, c, r in zip(high, low, close, reach, strict=True):  # noqa: E741
        middle = (h + l) / 2
        below, above = middle - r, middle + r
        if before is None:
            floor, ceiling, rising = below, above, c >= middle
        else:
            floor = max(floor, below) if before > floor else below
            ceiling = min(ceiling, above) if before < ceiling else above
            rising = c >= floor if rising else c > ceiling
        line, before = floor if rising else ceiling, c
    return line


def test_the_super_trend_is_the_loop_over_its_run() -> None:
    high, low, close = prices()
    reach = 0.02 * close
    given = recursions.super_trend(high[None], low[None], close[None], reach[None], START, BLOCK)[0]
    for i in range(60, 200, 7):
        held = slice(run_of(i), i + 1)
        expected = slow_super_trend(high[held], low[held], close[held], reach[held])
        assert given[i] == pytest.approx(expected, rel=1e-12)


def test_a_run_that_misses_more_than_a_twentieth_of_its_bars_has_no_value() -> None:
    _, _, close = prices()
    for missing, valid in ((1, True), (4, False)):
        holed = close.copy()
        holed[110 : 110 + missing] = np.nan
        given = recursions.adaptive_mean(holed[None], np.full((1, 200), 0.5), START, BLOCK, 2, 30)[
            0
        ]
        assert np.isfinite(given[125]) == valid
    assert np.isnan(given[:20]).all()


def test_a_value_is_the_same_to_the_last_bit_wherever_the_frame_begins() -> None:
    high, low, close = (x[None] for x in prices())
    reach = 0.02 * close
    cut = 37
    for kernel in (
        lambda h, l, c, r, s: recursions.super_trend(h, l, c, r, s, BLOCK),  # noqa: E741
        lambda h, l, c, r, s: recursions.parabolic_stop(h, l, s, BLOCK, 0.02, 0.2),  # noqa: E741
        lambda h, l, c, r, s: recursions.adaptive_mean(c, r / c, s, BLOCK, 2, 30),  # noqa: E741
    ):
        whole = kernel(high, low, close, reach, START)
        later = [np.ascontiguousarray(x[:, cut:]) for x in (high, low, close, reach)]
        part = kernel(*later, START + cut)
        sure = 2 * BLOCK
        np.testing.assert_array_equal(whole[:, cut + sure :], part[:, sure:])
