"""Candle patterns: textbook bars one by one, and TA-Lib where it means the same."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import talib

from features import candles
from features.grid import Grid

LONG_FALL, LONG_RISE = (110.0, 110.5, 99.5, 100.0), (100.0, 110.5, 99.5, 110.0)


def grid_of(bars: list[tuple[float, float, float, float]], habit: float = 4.0) -> Grid:
    """Return twenty plain bars with bodies of `habit`, alternating, and then `bars`."""
    plain = [
        (100.0, 101.0 + habit, 99.0, 100.0 + habit),
        (100.0 + habit, 101.0 + habit, 99.0, 100.0),
    ]
    rows = [*plain * 10, *bars]
    frame = pl.DataFrame(rows, schema=["open", "high", "low", "close"], orient="row")
    numbers = np.arange(len(rows)) + 480_000
    return Grid(frame, ["BTC/USDT"], np.zeros(len(rows), np.int64), numbers, timedelta(hours=1))


@pytest.mark.parametrize(
    ("pattern", "bars", "sign"),
    [
        (candles.engulfing, [(104.0, 105.0, 101.0, 102.0), (101.0, 106.0, 100.0, 105.0)], 1),
        (candles.engulfing, [(102.0, 105.0, 101.0, 104.0), (105.0, 106.0, 100.0, 101.0)], -1),
        (candles.engulfing, [(102.0, 105.0, 101.0, 104.0), (103.0, 106.0, 100.0, 101.0)], 0),
        (candles.harami, [LONG_FALL, (104.0, 105.5, 103.5, 105.0)], 1),
        (candles.harami, [LONG_RISE, (105.0, 105.5, 103.5, 104.0)], -1),
        (candles.harami, [LONG_RISE, (105.0, 112.5, 103.5, 111.0)], 0),
        (candles.piercing, [LONG_FALL, (99.0, 107.0, 98.5, 106.0)], 1),
        (candles.piercing, [LONG_RISE, (111.0, 111.5, 103.0, 104.0)], -1),
        (candles.piercing, [LONG_RISE, (111.0, 111.5, 106.0, 107.0)], 0),
        (candles.hammer, [(100.0, 101.1, 95.0, 101.0)], 1),
        (candles.hammer, [(101.0, 107.0, 99.9, 100.0)], -1),
        (candles.hammer, [(100.0, 103.0, 97.0, 101.0)], 0),
        (candles.star, [LONG_FALL, (99.0, 99.8, 97.8, 98.5), (99.0, 106.0, 98.9, 105.0)], 1),
        (candles.star, [LONG_RISE, (111.0, 112.0, 110.8, 111.5), (111.0, 111.2, 104.0, 105.0)], -1),
        (candles.star, [LONG_RISE, (111.0, 112.0, 110.8, 111.5), (111.0, 111.2, 108.0, 109.0)], 0),
        (candles.marubozu, [(100.0, 110.1, 99.9, 110.0)], 1),
        (candles.marubozu, [(110.0, 110.1, 99.9, 100.0)], -1),
        (candles.marubozu, [(100.0, 113.0, 99.9, 110.0)], 0),
        (
            candles.marching,
            [
                (100.0, 104.5, 99.5, 104.0),
                (102.0, 106.5, 101.5, 106.0),
                (104.0, 108.5, 103.5, 108.0),
            ],
            1,
        ),
        (
            candles.marching,
            [
                (108.0, 108.5, 103.5, 104.0),
                (106.0, 106.5, 101.5, 102.0),
                (104.0, 104.5, 99.5, 100.0),
            ],
            -1,
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_textbook_pattern_is_found_with_its_sign(pattern, bars, sign: int) -> None:
    with np.errstate(all="ignore"):
        assert pattern(grid_of(bars))[0, -1] == sign


def test_engulfing_bars_are_those_of_talib(make_bars) -> None:
    bars = make_bars(900, ("ETH/USDT",))
    # Opens that leave the close before, so that one body can swallow another.
    bars = bars.with_columns(open=pl.col("open") * (1 + 0.004 * (pl.int_range(pl.len()) % 7 - 3)))
    arrays = [bars[name].to_numpy() for name in ("open", "high", "low", "close")]
    numbers = np.arange(900) + 480_000
    grid = Grid(bars, ["ETH/USDT"], np.zeros(900, np.int64), numbers, timedelta(hours=1))
    expected = np.sign(talib.CDLENGULFING(*arrays))[20:]
    assert (expected != 0).sum() > 30
    np.testing.assert_array_equal(candles.engulfing(grid)[0][20:], expected)
