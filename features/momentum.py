"""Momentum: how far the price has come over a horizon.

Returns over one hour to a month, the same in units of their own volatility (so that assets
compare), the distance from the extremes of a window and their age, and whether the move is getting
faster. Time-series momentum: Moskowitz, Ooi and Pedersen 2012; in crypto: Liu and Tsyvinski 2021, who
find it at horizons of days to weeks; nearness to a high: George and Hwang 2004; a week without its
last day, because the newest returns revert: Jegadeesh 1990; steady moves rather than jumps: Da, Gurun
and Warachka 2014 ("frog in the pan").
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature

_NOT_POSITIVE = (None, 0.0)
_NOT_NEGATIVE = (0.0, None)
_SHARE = (0.0, 1.0)
_STREAK = 24


@feature(windows=(1, 2, 3, 6, 12, 24, 48, 72, 168, 336, 720), lookback=lambda window: window + 1)
def log_return(grid: Grid, window: int) -> Array:
    """Log return over the last {window} bars [log return]"""
    change = grid.log_close - grid.lag(grid.log_close, window)
    return grid.complete(change, window + 1)


@feature(windows=(6, 24, 72, 168, 720), lookback=lambda window: window + 1)
def scaled_return(grid: Grid, window: int) -> Array:
    """Log return over {window} bars in units of its volatility over them [standard deviations]"""
    mean, variance = grid.moments(grid.log_return, window)
    return ratio(mean * window, np.sqrt(variance * window))


@feature(windows=(24, 168, 720), lookback=lambda window: window, bounds=_NOT_POSITIVE)
def drawdown(grid: Grid, window: int) -> Array:
    """Log distance of the close below the highest high of {window} bars, zero or negative [log return]"""
    return np.log(grid.close / grid.highest(grid.high, window)[0])


@feature(windows=(24, 168, 720), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def run_up(grid: Grid, window: int) -> Array:
    """Log distance of the close above the lowest low of {window} bars, zero or positive [log return]"""
    return np.log(grid.close / grid.lowest(grid.low, window)[0])


@feature(windows=(168,), lookback=lambda window: window, bounds=_SHARE)
def age_of_high(grid: Grid, window: int) -> Array:
    """Bars since the highest high of {window} bars [fraction of the window]"""
    return grid.highest(grid.high, window)[1] / (window - 1)


@feature(windows=(168,), lookback=lambda window: window, bounds=_SHARE)
def age_of_low(grid: Grid, window: int) -> Array:
    """Bars since the lowest low of {window} bars [fraction of the window]"""
    return grid.lowest(grid.low, window)[1] / (window - 1)


@feature(windows=(24, 168), lookback=lambda window: 2 * window + 1)
def acceleration(grid: Grid, window: int) -> Array:
    """Return over {window} bars minus that over the {window} before [log return]"""
    change = grid.once(log_return, window)
    return change - grid.lag(change, window)


@feature(windows=((168, 24),), lookback=lambda *windows: max(windows) + 1)
def skipped_return(grid: Grid, long: int, short: int) -> Array:
    """Return over {long} bars without that of the last {short} [log return]"""
    return grid.once(log_return, long) - grid.once(log_return, short)


@feature(windows=(24,), lookback=lambda window: window + 1, bounds=_SHARE)
def rising_share(grid: Grid, window: int) -> Array:
    """Share of {window} bars that closed above the bar before [fraction]"""
    rose = np.where(np.isfinite(grid.log_return), grid.log_return > 0, np.nan)
    return grid.mean(rose, window)


@feature(lookback=_STREAK + 1, bounds=(-_STREAK, _STREAK))
def streak(grid: Grid) -> Array:
    """Closes in a row in the direction of the newest, with its sign, at most 24 [signed bars]"""
    sign = np.sign(grid.log_return)
    turned = np.where(np.isfinite(sign), sign != grid.lag(sign, 1), np.nan)
    found, age = grid.highest(turned, _STREAK)
    return sign * np.where(found == 0, _STREAK, age + 1)
