"""Volume: how much is traded, against its own past and against the move it made.

Turnover (volume at the bar's typical price) as a z-score of its logarithm, its short against its long
mean, on-balance volume (Granville 1963) as a share of all volume, Chaikin's money flow, the distance
from the volume-weighted price, Amihud's illiquidity (2002: price move per unit traded), and whether
volume comes with movement (Karpoff 1987).
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature

_SIGNED_SHARE = (-1.0, 1.0)


@feature(windows=(24, 168), lookback=lambda window: window)
def volume_z(grid: Grid, window: int) -> Array:
    """Log turnover of the bar against the last {window} [standard deviations]"""
    return grid.zscore(np.log1p(grid.turnover), window)


@feature(windows=((24, 168),), lookback=lambda *windows: max(windows))
def volume_trend(grid: Grid, short: int, long: int) -> Array:
    """Log of the mean turnover of {short} bars over that of {long} [log ratio]"""
    return np.log(ratio(grid.mean(grid.turnover, short), grid.mean(grid.turnover, long)))


@feature(windows=(24, 168), lookback=lambda window: window + 1, bounds=_SIGNED_SHARE)
def obv_slope(grid: Grid, window: int) -> Array:
    """Change of on-balance volume over {window} bars, over their volume [signed fraction]"""
    signed = np.sign(grid.log_return) * grid.volume
    volume = np.where(np.isfinite(signed), grid.volume, np.nan)
    return ratio(grid.mean(signed, window), grid.mean(volume, window))


@feature(windows=(24,), lookback=lambda window: window, bounds=_SIGNED_SHARE)
def money_flow(grid: Grid, window: int) -> Array:
    """Volume of {window} bars weighted by where they closed in their range (Chaikin) [signed fraction]"""
    span = grid.high - grid.low
    place = np.where(span == 0, 0.0, (2 * grid.close - grid.high - grid.low) / span)
    return ratio(grid.mean(place * grid.volume, window), grid.mean(grid.volume, window))


@feature(windows=(24, 168), lookback=lambda window: window)
def vwap_distance(grid: Grid, window: int) -> Array:
    """Log distance of the close from the volume-weighted price of {window} bars [log return]"""
    vwap = ratio(grid.mean(grid.turnover, window), grid.mean(grid.volume, window))
    return np.log(grid.close / vwap)


@feature(windows=(168,), lookback=lambda window: window + 1)
def amihud(grid: Grid, window: int) -> Array:
    """Log of the absolute return per unit of turnover over {window} bars [log return per quote, log]"""
    size = np.abs(grid.log_return)
    turnover = np.where(np.isfinite(size), grid.turnover, np.nan)
    return np.log(ratio(grid.mean(size, window), grid.mean(turnover, window)))


@feature(windows=((24, 168),), lookback=lambda *windows: max(windows) + 1)
def amihud_ratio(grid: Grid, short: int, long: int) -> Array:
    """Illiquidity of {short} bars against that of {long} [log ratio]"""
    return amihud(grid, short) - amihud(grid, long)


@feature(windows=(72,), lookback=lambda window: window + 1, bounds=_SIGNED_SHARE)
def volume_move_correlation(grid: Grid, window: int) -> Array:
    """Correlation of log turnover with the size of the return over {window} bars [correlation]"""
    return grid.correlation(np.log1p(grid.turnover), np.abs(grid.log_return), window)
