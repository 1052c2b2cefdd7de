"""Momentum: how far the price has come over a horizon.

Returns over one hour to a month, the same in units of their own volatility (so that assets
compare), and the distance from the extremes of a window. Time-series momentum: Moskowitz, Ooi and
Pedersen 2012; in crypto: Liu and Tsyvinski 2021, who find it at horizons of days to weeks; nearness
to a high: George and Hwang 2004.
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature

_NOT_POSITIVE = (None, 0.0)
_NOT_NEGATIVE = (0.0, None)


@feature(windows=(1, 6, 24, 72, 168, 720), lookback=lambda window: window + 1)
def log_return(grid: Grid, window: int) -> Array:
    """Log return over the last {window} bars [log return]"""
    change = grid.log_close - grid.lag(grid.log_close, window)
    return grid.complete(change, window + 1)


@feature(windows=(24, 168), lookback=lambda window: window + 1)
def scaled_return(grid: Grid, window: int) -> Array:
    """Log return over {window} bars in units of its volatility over them [standard deviations]"""
    mean, variance = grid.moments(grid.log_return, window)
    return ratio(mean * window, np.sqrt(variance * window))


@feature(windows=(168,), lookback=lambda window: window, bounds=_NOT_POSITIVE)
def drawdown(grid: Grid, window: int) -> Array:
    """Log distance of the close below the highest high of {window} bars, zero or negative [log return]"""
    return np.log(grid.close / grid.highest(grid.high, window)[0])


@feature(windows=(168,), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def run_up(grid: Grid, window: int) -> Array:
    """Log distance of the close above the lowest low of {window} bars, zero or positive [log return]"""
    return np.log(grid.close / grid.lowest(grid.low, window)[0])
