"""Oscillators: how stretched the price is inside its recent range.

Wilder's RSI (1978), the stochastic (Lane), its application to the RSI (Chande and Kroll 1994), the
commodity channel index (Lambert 1980), the money flow index (Quong and Soudack 1989), and the
ultimate oscillator (Williams 1985). Scaled to [0, 1] or [-1, 1] instead of the customary 0 to 100;
0.5 is neutral.
"""

import numpy as np

from features.grid import Grid, ratio, wilder_window
from features.kernels import Array
from features.registry import feature

_SHARE = (0.0, 1.0)


@feature(windows=(14, 42), lookback=lambda window: wilder_window(window) + 1, bounds=_SHARE)
def rsi(grid: Grid, window: int) -> Array:
    """Wilder's relative strength index over {window} bars, a hundredth of the usual scale [fraction]"""
    change = grid.close - grid.lag(grid.close, 1)
    up, down = (
        grid.wilder(np.maximum(change, 0), window),
        grid.wilder(np.maximum(-change, 0), window),
    )
    return ratio(up, up + down)


@feature(windows=(14, 72), lookback=lambda window: window, bounds=_SHARE)
def stochastic(grid: Grid, window: int) -> Array:
    """Place of the close between the lowest low and highest high of {window} bars [fraction]"""
    low, high = grid.lowest(grid.low, window)[0], grid.highest(grid.high, window)[0]
    return ratio(grid.close - low, high - low)


@feature(windows=(14,), lookback=lambda window: wilder_window(window) + window, bounds=_SHARE)
def stochastic_rsi(grid: Grid, window: int) -> Array:
    """Place of the relative strength index between its extremes of {window} bars [fraction]"""
    strength = rsi(grid, window)
    low, high = grid.lowest(strength, window)[0], grid.highest(strength, window)[0]
    return ratio(strength - low, high - low)


@feature(windows=(20,), lookback=lambda window: window)
def cci(grid: Grid, window: int) -> Array:
    """Typical price from its mean of {window} bars, in 1.5 mean deviations [channel half-widths]"""
    deviation = grid.mean_deviation(grid.typical, window)
    return ratio(grid.typical - grid.mean(grid.typical, window), 1.5 * deviation)


@feature(windows=(14,), lookback=lambda window: window + 1, bounds=_SHARE)
def mfi(grid: Grid, window: int) -> Array:
    """Share of the turnover of {window} bars that traded at a rising typical price [fraction]"""
    change = grid.typical - grid.lag(grid.typical, 1)
    rising = np.where(np.isfinite(change), grid.turnover * (change > 0), np.nan)
    falling = np.where(np.isfinite(change), grid.turnover * (change < 0), np.nan)
    up, down = grid.mean(rising, window), grid.mean(falling, window)
    return ratio(up, up + down)


@feature(windows=((7, 14, 28),), lookback=lambda *windows: max(windows) + 1, bounds=_SHARE)
def ultimate_oscillator(grid: Grid, short: int, middle: int, long: int) -> Array:
    """Buying pressure over true range at {short}, {middle} and {long} bars, weighted 4:2:1 [fraction]"""
    before = grid.lag(grid.close, 1)
    pressure = grid.close - np.minimum(grid.low, before)
    parts = [
        ratio(grid.mean(pressure, window), grid.mean(grid.true_range, window))
        for window in (short, middle, long)
    ]
    return np.asarray((4 * parts[0] + 2 * parts[1] + parts[2]) / 7)
