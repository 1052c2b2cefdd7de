"""Statistics: the character of recent returns, beyond mean and deviation.

Autocorrelation, the variance ratio (Lo and MacKinlay 1988) and Hurst's exponent, here of the mean size of
moves over one to sixteen bars (Di Matteo 2007), tell trending from reverting; the autocorrelation of
sizes tells how volatility clusters (Ding, Granger and Engle 1993). The efficiency ratio (Kaufman 1995)
tells a straight path from noise, the entropy of ordinal patterns (Bandt and Pompe 2002) order from
chance, the speed of reversion is that of an Ornstein-Uhlenbeck process. Skewness, kurtosis and the
largest moves show where the tails lie (Amaya et al. 2015; lottery demand: Bali, Cakici and Whitelaw
2011). A fractional difference of fixed width (Lopez de Prado 2018, chapter 5) keeps some memory of the
level; its weights are made to sum to zero, so that the level itself, which has no meaning, drops out.
"""

import itertools

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature

_CORRELATION = (-1.0, 1.0)
_SHARE = (0.0, 1.0)
_NOT_NEGATIVE = (0.0, None)
_HURST_LAGS = (1, 2, 4, 8, 16)


@feature(
    windows=((1, 72), (2, 72), (1, 336), (6, 168), (24, 168)),
    lookback=lambda lag, window: window + lag + 1,
    bounds=_CORRELATION,
)
def autocorrelation(grid: Grid, lag: int, window: int) -> Array:
    """Correlation of the one-bar return with that {lag} bars before, over {window} bars [correlation]"""
    return grid.correlation(grid.log_return, grid.lag(grid.log_return, lag), window)


@feature(
    windows=((1, 168), (24, 336)),
    lookback=lambda lag, window: window + lag + 1,
    bounds=_CORRELATION,
)
def size_autocorrelation(grid: Grid, lag: int, window: int) -> Array:
    """Correlation of the size of the return with that {lag} bars before, over {window} bars [correlation]"""
    size = grid.once(_size)
    return grid.correlation(size, grid.lag(size, lag), window)


@feature(
    windows=((6, 168), (24, 336)),
    lookback=lambda bars, window: window + bars,
    bounds=_NOT_NEGATIVE,
)
def variance_ratio(grid: Grid, bars: int, window: int) -> Array:
    """Variance of {bars}-bar returns over {bars} times that of one-bar returns, {window} bars [ratio]"""
    summed = grid.log_close - grid.lag(grid.log_close, bars)
    one, many = grid.moments(grid.log_return, window)[1], grid.moments(summed, window)[1]
    return ratio(many, bars * one)


@feature(windows=(336,), lookback=lambda window: window + max(_HURST_LAGS))
def hurst(grid: Grid, window: int) -> Array:
    """Slope of the log size of moves on the log of their length, 1 to 16 bars over {window}; 0.5 is a random walk [exponent]"""
    lengths = np.log(_HURST_LAGS)
    leverage = (lengths - lengths.mean()) / ((lengths - lengths.mean()) ** 2).sum()
    slope = np.zeros_like(grid.close)
    for lag, weight in zip(_HURST_LAGS, leverage, strict=True):
        slope += weight * np.log(grid.mean(grid.once(_move, lag), window))
    return slope


@feature(windows=(24, 72, 168), lookback=lambda window: window + 1, bounds=_NOT_NEGATIVE)
def efficiency_ratio(grid: Grid, window: int) -> Array:
    """Distance covered in {window} bars over the length of the path, 1 on a straight line [fraction]"""
    distance = np.abs(grid.log_close - grid.lag(grid.log_close, window))
    return ratio(distance, window * grid.mean(grid.once(_size), window))


@feature(windows=(72,), lookback=lambda window: window + 2, bounds=_SHARE)
def reversal_share(grid: Grid, window: int) -> Array:
    """Share of {window} bars whose return has the other sign than the one before [fraction]"""
    product = grid.log_return * grid.lag(grid.log_return, 1)
    return grid.mean(np.where(np.isfinite(product), product < 0, np.nan), window)


@feature(windows=(168,), lookback=lambda window: window + 2, bounds=(0.0, 1.0 + 1e-9))
def permutation_entropy(grid: Grid, window: int) -> Array:
    """Entropy of the order of three neighbouring closes over {window} bars, one where all orders are alike [fraction]"""
    total = np.zeros_like(grid.close)
    for pattern in grid.once(_orders):
        share = grid.mean(pattern, window)
        total -= np.where(share > 0, share * np.log(share), share)
    evenness: Array = total / np.log(6)
    return evenness


@feature(windows=(72,), lookback=lambda window: window + 1)
def reversion_speed(grid: Grid, window: int) -> Array:
    """Minus the slope of the return on the log close before it, over {window} bars [fraction per bar]"""
    cov, _, variance = grid.covariance(grid.log_return, grid.lag(grid.log_close, 1), window)
    return -ratio(cov, variance)


@feature(windows=(72, 168), lookback=lambda window: window + 1)
def return_skew(grid: Grid, window: int) -> Array:
    """Skewness of {window} one-bar returns [standardised third moment]"""
    return grid.shape(grid.log_return, window)[0]


@feature(windows=(72, 168), lookback=lambda window: window + 1, bounds=(-2.0, None))
def return_kurtosis(grid: Grid, window: int) -> Array:
    """Excess kurtosis of {window} one-bar returns [standardised fourth moment]"""
    return grid.shape(grid.log_return, window)[1]


@feature(windows=(168,), lookback=lambda window: window + 1)
def largest_rise(grid: Grid, window: int) -> Array:
    """Highest one-bar return of {window} bars [standard deviations]"""
    most = grid.highest(grid.log_return, window)[0]
    return ratio(most, grid.std(grid.log_return, window))


@feature(windows=(168,), lookback=lambda window: window + 1)
def largest_fall(grid: Grid, window: int) -> Array:
    """Lowest one-bar return of {window} bars [standard deviations]"""
    least = grid.lowest(grid.log_return, window)[0]
    return ratio(least, grid.std(grid.log_return, window))


@feature(windows=((4, 120), (7, 120)), lookback=lambda _, width: width)
def fractional_difference(grid: Grid, tenths: int, width: int) -> Array:
    """Log close differenced {tenths} tenths of a time over {width} bars [log return]"""
    return grid.weighted_sum(grid.log_close, fractional_weights(tenths / 10, width))


def fractional_weights(order: float, width: int) -> Array:
    """Return the weights by age of `(1 - lag) ** order`, the oldest changed so that they sum to zero."""
    ages = np.arange(1, width)
    weights = np.concatenate([[1.0], np.cumprod((ages - 1 - order) / ages)])
    weights[-1] -= weights.sum()
    return weights


def _size(grid: Grid) -> Array:
    return np.abs(grid.log_return)


def _move(grid: Grid, lag: int) -> Array:
    return np.abs(grid.log_close - grid.lag(grid.log_close, lag))


def _orders(grid: Grid) -> tuple[Array, ...]:
    """Return a series of flags for each of the six orders of the last three closes."""
    held = (grid.close, grid.lag(grid.close, 1), grid.lag(grid.close, 2))
    # Equal closes count as falling in age, so that every triple has one order.
    newer, older = held[0] >= held[1], held[1] >= held[2]
    across = held[0] >= held[2]
    present = np.isfinite(held[0] + held[1] + held[2])
    return tuple(
        np.where(present, (newer == a) & (older == b) & (across == c), np.nan)
        for a, b, c in itertools.product((True, False), repeat=3)
        if not (a and b and not c) and not (not a and not b and c)
    )
