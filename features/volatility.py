"""Volatility: how much the price moves, whatever the direction.

Close-to-close deviation, and range estimators that see inside the bar and are 5 to 14 times as
efficient: Parkinson 1980, Garman and Klass 1980, Rogers and Satchell 1991 (right under drift), Yang
and Zhang 2000 (right under drift and gaps). Wilder's ATR (1978) sizes stops; Bollinger's bands
(1983) place the close; the volatility of volatility and the ratio of short to long tell calm from
storm; bipower variation (Barndorff-Nielsen and Shephard 2004) tells jumps from diffusion.
Volatilities are per bar, never annualised.
"""

import numpy as np

from features.grid import Grid, ratio, wilder_window
from features.kernels import Array
from features.registry import feature

_NOT_NEGATIVE = (0.0, None)
_SHARE = (0.0, 1.0)


@feature(windows=(24, 72, 168), lookback=lambda window: window + 1, bounds=_NOT_NEGATIVE)
def realised_vol(grid: Grid, window: int) -> Array:
    """Standard deviation of the last {window} one-bar log returns [log return per bar]"""
    return grid.std(grid.log_return, window)


@feature(windows=(24,), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def parkinson_vol(grid: Grid, window: int) -> Array:
    """Parkinson volatility of {window} bars, from highs and lows [log return per bar]"""
    span = np.log(grid.high / grid.low)
    variance: Array = grid.mean(span**2, window) / (4 * np.log(2))
    return np.sqrt(variance)


@feature(windows=(24,), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def garman_klass_vol(grid: Grid, window: int) -> Array:
    """Garman-Klass volatility of {window} bars [log return per bar]"""
    span, body = np.log(grid.high / grid.low), np.log(grid.close / grid.open)
    variance = 0.5 * span**2 - (2 * np.log(2) - 1) * body**2
    return np.sqrt(np.maximum(grid.mean(variance, window), 0))


@feature(windows=(24,), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def rogers_satchell_vol(grid: Grid, window: int) -> Array:
    """Rogers-Satchell volatility of {window} bars, right under drift [log return per bar]"""
    return np.sqrt(np.maximum(grid.mean(_rogers_satchell(grid), window), 0))


@feature(windows=(24, 72), lookback=lambda window: window + 1, bounds=_NOT_NEGATIVE)
def yang_zhang_vol(grid: Grid, window: int) -> Array:
    """Yang-Zhang volatility of {window} bars, right under drift and gaps [log return per bar]"""
    gap = np.log(grid.open / grid.lag(grid.close, 1))
    body = np.log(grid.close / grid.open)
    k = 0.34 / (1.34 + (window + 1) / (window - 1))
    inside = grid.mean(_rogers_satchell(grid), window)
    variance = grid.std(gap, window) ** 2 + k * grid.std(body, window) ** 2 + (1 - k) * inside
    return np.sqrt(np.maximum(variance, 0))


@feature(windows=(14, 48), lookback=lambda window: wilder_window(window) + 1, bounds=_NOT_NEGATIVE)
def atr(grid: Grid, window: int) -> Array:
    """Wilder's average true range over {window} bars, over the close [fraction of close]"""
    return grid.wilder(grid.true_range, window) / grid.close


@feature(windows=(24,), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def bollinger_width(grid: Grid, window: int) -> Array:
    """Width of the two-deviation bands of {window} closes, over their mean [fraction]"""
    mean, variance = grid.moments(grid.close, window)
    return 4 * np.sqrt(variance) / mean


@feature(windows=(24, 72), lookback=lambda window: window)
def bollinger_position(grid: Grid, window: int) -> Array:
    """Close from the mean of {window} closes, 1 at the upper two-deviation band [band half-widths]"""
    return grid.zscore(grid.close, window) / 2


@feature(windows=((24, 168),), lookback=lambda short, long: short + long, bounds=_NOT_NEGATIVE)
def vol_of_vol(grid: Grid, short: int, long: int) -> Array:
    """Deviation over mean of {long} values of the {short}-bar volatility [fraction]"""
    mean, variance = grid.moments(grid.std(grid.log_return, short), long)
    return ratio(np.sqrt(variance), mean)


@feature(windows=((24, 168),), lookback=lambda *windows: max(windows) + 1)
def vol_ratio(grid: Grid, short: int, long: int) -> Array:
    """Log of the {short}-bar over the {long}-bar volatility [log ratio]"""
    return np.log(ratio(grid.std(grid.log_return, short), grid.std(grid.log_return, long)))


@feature(windows=(168,), lookback=lambda window: window + 1, bounds=_SHARE)
def downside_share(grid: Grid, window: int) -> Array:
    """Share of the squared returns of {window} bars that comes from falling bars [fraction]"""
    squared = grid.log_return**2
    falling = np.where(grid.log_return < 0, squared, squared * 0)
    return ratio(grid.mean(falling, window), grid.mean(squared, window))


@feature(windows=(72,), lookback=lambda window: window + 2, bounds=_SHARE)
def jump_share(grid: Grid, window: int) -> Array:
    """Share of the variance of {window} bars that came in jumps, by bipower variation [fraction]"""
    size = np.abs(grid.log_return)
    smooth = np.pi / 2 * grid.mean(size * grid.lag(size, 1), window)
    return np.maximum(1 - ratio(smooth, grid.mean(size**2, window)), 0)


def _rogers_satchell(grid: Grid) -> Array:
    high, low = np.log(grid.high / grid.open), np.log(grid.low / grid.open)
    body = np.log(grid.close / grid.open)
    products: Array = high * (high - body) + low * (low - body)
    return products
