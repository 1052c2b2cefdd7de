"""Trend: whether the path has a direction, and how straight it is.

Gaps between exponential and plain means, MACD (Appel 1979), Kaufman's adaptive mean (1995) and Hull's
(2005), the slope and fit of a line through the log price (the fit tells a steady climb from one
jump), Wilder's directional movement and parabolic stop (1978), SuperTrend (Seban 2007), Aroon (Chande
1995), which measures trend by the age of the extremes, the lines
and the cloud of Ichimoku (Hosoda 1969) as they are known at the close: the cloud under today's bar was
drawn 26 bars ago, and the lagging line, which is a look ahead, is left out. Moving averages as
predictors: Brock, Lakonishok and LeBaron 1992. All are ratios, so that they mean the same at any
price.
"""

import numpy as np

from features import recursions
from features.grid import Grid, ema_window, ratio, wilder_window
from features.kernels import Array
from features.recursions import block_window
from features.registry import feature

_SIGNED_SHARE = (-1.0, 1.0)
_SHARE = (0.0, 1.0)
_CLOUD_AHEAD = 26


@feature(
    windows=((6, 24), (12, 48), (24, 96), (36, 144)),
    lookback=lambda *spans: ema_window(max(spans)),
)
def ema_gap(grid: Grid, fast: int, slow: int) -> Array:
    """Exponential mean of {fast} bars minus that of {slow}, over the close [fraction]"""
    return (grid.ema(grid.close, fast) - grid.ema(grid.close, slow)) / grid.close


@feature(windows=(12, 24, 144), lookback=ema_window)
def ema_distance(grid: Grid, span: int) -> Array:
    """Close minus its exponential mean of {span} bars, over the close [fraction]"""
    return 1 - grid.ema(grid.close, span) / grid.close


@feature(windows=(720,), lookback=lambda window: window)
def sma_distance(grid: Grid, window: int) -> Array:
    """Log distance of the close from the mean of {window} closes [log return]"""
    return np.log(grid.close / grid.mean(grid.close, window))


@feature(windows=((50, 200),), lookback=lambda *windows: max(windows))
def sma_gap(grid: Grid, fast: int, slow: int) -> Array:
    """Log of the mean of {fast} closes over that of {slow} [log ratio]"""
    return np.log(grid.mean(grid.close, fast) / grid.mean(grid.close, slow))


@feature(windows=((10, 120),), lookback=lambda window, block: block_window(block) + window)
def kama_distance(grid: Grid, window: int, block: int) -> Array:
    """Close minus Kaufman's adaptive mean of efficiency {window}, run over {block} to twice as many bars, over the close [fraction]"""
    change = np.abs(grid.close - grid.lag(grid.close, window))
    step = np.abs(grid.close - grid.lag(grid.close, 1))
    share = ratio(change, window * grid.mean(step, window))
    mean = recursions.adaptive_mean(grid.close, share, grid.start, block, 2, 30)
    return 1 - mean / grid.close


@feature(windows=((48, 7),), lookback=lambda window, smooth: window + smooth - 1)
def hull_distance(grid: Grid, window: int, smooth: int) -> Array:
    """Close minus Hull's mean of {window} bars, smoothed over {smooth}, over the close [fraction]"""
    fast, slow = grid.linear_mean(grid.close, window // 2), grid.linear_mean(grid.close, window)
    return 1 - grid.linear_mean(2 * fast - slow, smooth) / grid.close


@feature(
    windows=((12, 26, 9), (24, 52, 18)),
    lookback=lambda *spans: ema_window(spans[1]) + ema_window(spans[2]) - 1,
)
def macd_histogram(grid: Grid, fast: int, slow: int, signal: int) -> Array:
    """Exponential mean gap ({fast}, {slow}) minus its own mean of {signal} bars, over the close [fraction]"""
    gap = grid.ema(grid.close, fast) - grid.ema(grid.close, slow)
    return (gap - grid.ema(gap, signal)) / grid.close


@feature(windows=(15,), lookback=lambda span: 3 * ema_window(span) - 1)
def trix(grid: Grid, span: int) -> Array:
    """One-bar change of the log close, smoothed three times over {span} bars [log return per bar]"""
    smooth = grid.ema(grid.ema(grid.ema(grid.log_close, span), span), span)
    return smooth - grid.lag(smooth, 1)


@feature(windows=(24, 168), lookback=lambda window: window)
def trend_slope(grid: Grid, window: int) -> Array:
    """Slope of the least-squares line through {window} log closes [log return per bar]"""
    return grid.slope(grid.log_close, window)


@feature(windows=(24, 72, 168), lookback=lambda window: window, bounds=_SHARE)
def trend_fit(grid: Grid, window: int) -> Array:
    """Share of the variance of {window} log closes that lies on their line [fraction]"""
    return grid.correlation(grid.time, grid.log_close, window) ** 2


@feature(windows=(72,), lookback=lambda window: window)
def line_distance(grid: Grid, window: int) -> Array:
    """Log close from the end of the line through {window} of them, in deviations around it [standard deviations]"""
    cov, var_time, variance = grid.covariance(grid.time, grid.log_close, window)
    slope = ratio(cov, var_time)
    rest = np.sqrt(np.maximum(variance - slope * cov, 0))
    end = grid.mean(grid.log_close, window) + slope * (window - 1) / 2
    return ratio(grid.log_close - end, rest)


@feature(windows=(14, 48), lookback=lambda window: wilder_window(window) + 1, bounds=_SIGNED_SHARE)
def directional_movement(grid: Grid, window: int) -> Array:
    """Wilder's upward minus downward movement over {window} bars, over their sum [signed fraction]"""
    up, down = grid.once(_movements)
    plus, minus = grid.wilder(up, window), grid.wilder(down, window)
    return ratio(plus - minus, plus + minus)


@feature(windows=(14, 36), lookback=lambda window: 2 * wilder_window(window), bounds=_SHARE)
def adx(grid: Grid, window: int) -> Array:
    """Wilder's average directional index over {window} bars [fraction]"""
    return grid.wilder(np.abs(grid.once(directional_movement, window)), window)


@feature(windows=(72, 168), lookback=lambda window: window, bounds=_SIGNED_SHARE)
def aroon(grid: Grid, window: int) -> Array:
    """Bars since the lowest low minus bars since the highest high, over {window} bars [signed fraction]"""
    since_low, since_high = grid.lowest(grid.low, window)[1], grid.highest(grid.high, window)[1]
    return (since_low - since_high) / (window - 1)


@feature(windows=(14, 72), lookback=lambda window: window + 1, bounds=(None, 1.0))
def choppiness(grid: Grid, window: int) -> Array:
    """Log of the true ranges of {window} bars over their common range, one where they all overlap [fraction]"""
    common = grid.highest(grid.high, window)[0] - grid.lowest(grid.low, window)[0]
    path = grid.mean(grid.true_range, window) * window
    share: Array = np.log(ratio(path, common)) / np.log(window)
    return np.minimum(share, 1)


@feature(windows=(24,), lookback=lambda window: window + 1)
def breakout(grid: Grid, window: int) -> Array:
    """Close beyond the middle of the {window} bars before, one at their highest high [channel half-widths]"""
    top = grid.lag(grid.highest(grid.high, window)[0], 1)
    bottom = grid.lag(grid.lowest(grid.low, window)[0], 1)
    return ratio(2 * grid.close - top - bottom, top - bottom)


@feature(windows=((9, 26),), lookback=lambda *windows: max(windows))
def ichimoku_cross(grid: Grid, conversion: int, base: int) -> Array:
    """Middle of {conversion} bars minus that of {base}, over the close [fraction]"""
    return (_middle(grid, conversion) - _middle(grid, base)) / grid.close


@feature(windows=(26,), lookback=lambda base: base)
def ichimoku_base(grid: Grid, base: int) -> Array:
    """Close minus the middle of the range of {base} bars, over the close [fraction]"""
    return 1 - _middle(grid, base) / grid.close


@feature(windows=((9, 26, 52),), lookback=lambda *windows: windows[2] + _CLOUD_AHEAD)
def ichimoku_cloud(grid: Grid, conversion: int, base: int, slow: int) -> Array:
    """Close beyond the cloud ({conversion}, {base}, {slow}) drawn 26 bars ago, zero inside, over the close [fraction]"""
    first, second = _cloud(grid, conversion, base, slow)
    above = grid.close - np.maximum(first, second)
    below = grid.close - np.minimum(first, second)
    return (np.maximum(above, 0) + np.minimum(below, 0)) / grid.close


@feature(windows=((9, 26, 52),), lookback=lambda *windows: windows[2] + _CLOUD_AHEAD)
def ichimoku_thickness(grid: Grid, conversion: int, base: int, slow: int) -> Array:
    """Leading minus following edge of the cloud ({conversion}, {base}, {slow}), over the close [fraction]"""
    first, second = _cloud(grid, conversion, base, slow)
    return (first - second) / grid.close


@feature(
    windows=((10, 3, 168),),
    lookback=lambda window, _, block: block_window(block) + wilder_window(window),
)
def supertrend_distance(grid: Grid, window: int, reach: int, block: int) -> Array:
    """Close minus the SuperTrend line of {reach} true ranges of {window} bars, run over {block} to twice as many bars, over the close [fraction]"""
    band = reach * grid.wilder(grid.true_range, window)
    line = recursions.super_trend(grid.high, grid.low, grid.close, band, grid.start, block)
    return 1 - line / grid.close


@feature(windows=(168,), lookback=block_window)
def psar_distance(grid: Grid, block: int) -> Array:
    """Close minus Wilder's parabolic stop (0.02, 0.2), run over {block} to twice as many bars, over the close [fraction]"""
    stop = recursions.parabolic_stop(grid.high, grid.low, grid.start, block, 0.02, 0.2)
    return 1 - stop / grid.close


def _middle(grid: Grid, window: int) -> Array:
    return (grid.highest(grid.high, window)[0] + grid.lowest(grid.low, window)[0]) / 2


def _cloud(grid: Grid, conversion: int, base: int, slow: int) -> tuple[Array, Array]:
    leading = (_middle(grid, conversion) + _middle(grid, base)) / 2
    return grid.lag(leading, _CLOUD_AHEAD), grid.lag(_middle(grid, slow), _CLOUD_AHEAD)


def _movements(grid: Grid) -> tuple[Array, Array]:
    up = grid.high - grid.lag(grid.high, 1)
    down = grid.lag(grid.low, 1) - grid.low
    present = np.isfinite(up)
    plus = np.where(present, np.where((up > down) & (up > 0), up, 0.0), np.nan)
    minus = np.where(present, np.where((down > up) & (down > 0), down, 0.0), np.nan)
    return plus, minus
