"""Statistics: the character of recent returns, beyond mean and deviation.

Autocorrelation and the variance ratio (Lo and MacKinlay 1988) tell trending from reverting, the
efficiency ratio (Kaufman 1995) tells a straight path from noise, and skewness and kurtosis show
where the tails lie (Amaya et al. 2015).
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature


@feature(
    windows=((1, 72), (24, 168)),
    lookback=lambda lag, window: window + lag + 1,
    bounds=(-1.0, 1.0),
)
def autocorrelation(grid: Grid, lag: int, window: int) -> Array:
    """Correlation of the one-bar return with that {lag} bars before, over {window} bars [correlation]"""
    return grid.correlation(grid.log_return, grid.lag(grid.log_return, lag), window)


@feature(windows=((6, 168),), lookback=lambda bars, window: window + bars, bounds=(0.0, None))
def variance_ratio(grid: Grid, bars: int, window: int) -> Array:
    """Variance of {bars}-bar returns over {bars} times that of one-bar returns, {window} bars [ratio]"""
    summed = grid.log_close - grid.lag(grid.log_close, bars)
    one, many = grid.moments(grid.log_return, window)[1], grid.moments(summed, window)[1]
    return ratio(many, bars * one)


@feature(windows=(24, 168), lookback=lambda window: window + 1, bounds=(0.0, None))
def efficiency_ratio(grid: Grid, window: int) -> Array:
    """Distance covered in {window} bars over the length of the path, 1 on a straight line [fraction]"""
    distance = np.abs(grid.log_close - grid.lag(grid.log_close, window))
    return ratio(distance, window * grid.mean(np.abs(grid.log_return), window))


@feature(windows=(168,), lookback=lambda window: window + 1)
def return_skew(grid: Grid, window: int) -> Array:
    """Skewness of {window} one-bar returns [standardised third moment]"""
    return grid.shape(grid.log_return, window)[0]


@feature(windows=(168,), lookback=lambda window: window + 1, bounds=(-2.0, None))
def return_kurtosis(grid: Grid, window: int) -> Array:
    """Excess kurtosis of {window} one-bar returns [standardised fourth moment]"""
    return grid.shape(grid.log_return, window)[1]
