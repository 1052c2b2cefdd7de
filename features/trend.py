"""Trend: whether the path has a direction, and how straight it is.

Gaps between exponential means and MACD (Appel 1979), the slope and fit of a line through the log
price (the fit tells a steady climb from one jump), Wilder's directional movement (1978), and
Aroon (Chande 1995), which measures trend by the age of the extremes. All are ratios, so that they
mean the same at any price.
"""

import numpy as np

from features.grid import Grid, ema_window, ratio, wilder_window
from features.kernels import Array
from features.registry import feature

_SIGNED_SHARE = (-1.0, 1.0)


@feature(windows=((6, 24), (24, 96), (36, 144)), lookback=lambda *spans: ema_window(max(spans)))
def ema_gap(grid: Grid, fast: int, slow: int) -> Array:
    """Exponential mean of {fast} bars minus that of {slow}, over the close [fraction]"""
    return (grid.ema(grid.close, fast) - grid.ema(grid.close, slow)) / grid.close


@feature(windows=(24,), lookback=ema_window)
def ema_distance(grid: Grid, span: int) -> Array:
    """Close minus its exponential mean of {span} bars, over the close [fraction]"""
    return 1 - grid.ema(grid.close, span) / grid.close


@feature(
    windows=((12, 26, 9),),
    lookback=lambda *spans: ema_window(spans[1]) + ema_window(spans[2]) - 1,
)
def macd_histogram(grid: Grid, fast: int, slow: int, signal: int) -> Array:
    """Exponential mean gap ({fast}, {slow}) minus its own mean of {signal} bars, over the close [fraction]"""
    gap = grid.ema(grid.close, fast) - grid.ema(grid.close, slow)
    return (gap - grid.ema(gap, signal)) / grid.close


@feature(windows=(24, 168), lookback=lambda window: window)
def trend_slope(grid: Grid, window: int) -> Array:
    """Slope of the least-squares line through {window} log closes [log return per bar]"""
    cov, var_time, _ = grid.covariance(_time(grid), grid.log_close, window)
    return ratio(cov, var_time)


@feature(windows=(24, 168), lookback=lambda window: window, bounds=(0.0, 1.0))
def trend_fit(grid: Grid, window: int) -> Array:
    """Share of the variance of {window} log closes that lies on their line [fraction]"""
    return grid.correlation(_time(grid), grid.log_close, window) ** 2


@feature(windows=(14,), lookback=lambda window: wilder_window(window) + 1, bounds=_SIGNED_SHARE)
def directional_movement(grid: Grid, window: int) -> Array:
    """Wilder's upward minus downward movement over {window} bars, over their sum [signed fraction]"""
    return _directional(grid, window)


@feature(
    windows=(14,),
    lookback=lambda window: 2 * wilder_window(window),
    bounds=(0.0, 1.0),
)
def adx(grid: Grid, window: int) -> Array:
    """Wilder's average directional index over {window} bars [fraction]"""
    return grid.wilder(np.abs(_directional(grid, window)), window)


@feature(windows=(72,), lookback=lambda window: window, bounds=_SIGNED_SHARE)
def aroon(grid: Grid, window: int) -> Array:
    """Bars since the lowest low minus bars since the highest high, over {window} bars [signed fraction]"""
    since_low, since_high = grid.lowest(grid.low, window)[1], grid.highest(grid.high, window)[1]
    return (since_low - since_high) / (window - 1)


def _time(grid: Grid) -> Array:
    return np.broadcast_to(grid.numbers.astype(np.float64), grid.close.shape).copy()


def _directional(grid: Grid, window: int) -> Array:
    up = grid.high - grid.lag(grid.high, 1)
    down = grid.lag(grid.low, 1) - grid.low
    present = np.isfinite(up)
    plus = np.where(present, np.where((up > down) & (up > 0), up, 0.0), np.nan)
    minus = np.where(present, np.where((down > up) & (down > 0), down, 0.0), np.nan)
    plus, minus = grid.wilder(plus, window), grid.wilder(minus, window)
    return ratio(plus - minus, plus + minus)
