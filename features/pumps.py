"""Pumps: volume and price that jump together, as when a coin is driven up to be dumped.

A coordinated pump shows as turnover and return far beyond the habit of the hours before, in the same
hours, with a price that falls back after (Kamps and Kleinberg 2018; La Morgia et al. 2023). Surprise is
measured against the window before the bar, without the bar itself, so that a jump does not hide in its
own mean. The scores are symmetric: a crash on heavy turnover counts with the sign of its return.
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature

_SHARE = (0.0, 1.0)
# Deviations beyond which a bar is a spike, and beyond which a score says no more.
_SPIKE = 3.0
_MOST = 20.0


@feature(windows=(168,), lookback=lambda window: window + 2, bounds=(-_MOST, _MOST))
def return_surprise(grid: Grid, window: int) -> Array:
    """One-bar return in units of the volatility of the {window} bars before, at most 20 [standard deviations]"""
    z = ratio(grid.log_return, grid.lag(grid.std(grid.log_return, window), 1))
    return np.clip(z, -_MOST, _MOST)


@feature(windows=(72,), lookback=lambda window: window + 1, bounds=(-_MOST, _MOST))
def volume_surprise(grid: Grid, window: int) -> Array:
    """Log turnover of the bar against the {window} before it, at most 20 [standard deviations]"""
    return _surprise(grid, grid.log_turnover, window)


@feature(windows=(72,), lookback=lambda window: window + 2, bounds=(-_MOST, _MOST))
def range_surprise(grid: Grid, window: int) -> Array:
    """Log true range over the close of the bar against the {window} before it, at most 20 [standard deviations]"""
    span = grid.true_range / grid.close
    return _surprise(grid, np.log(np.where(span > 0, span, np.nan)), window)


@feature(windows=(72,), lookback=lambda window: window + 2, bounds=(-_MOST, _MOST))
def pump_score(grid: Grid, window: int) -> Array:
    """The smaller surprise of return and turnover against {window} bars, with the return's sign, zero below none [standard deviations]"""
    return grid.once(_scores, window)


@feature(windows=((72, 24),), lookback=lambda window, bars: window + bars + 1, bounds=(0.0, _MOST))
def pump_memory(grid: Grid, window: int, bars: int) -> Array:
    """Largest size of the pump score of {window} bars in the last {bars} [standard deviations]"""
    return grid.highest(np.abs(grid.once(_scores, window)), bars)[0]


@feature(windows=((3, 24),), lookback=lambda rise, window: rise + window)
def pump_reversal(grid: Grid, rise: int, window: int) -> Array:
    """Log fall of the close from the highest high of {window} bars, minus the best {rise}-bar return in them [log return]"""
    fall = np.log(grid.highest(grid.high, window)[0] / grid.close)
    return fall - grid.highest(grid.log_close - grid.lag(grid.log_close, rise), window)[0]


@feature(windows=((168, 168),), lookback=lambda habit, window: habit + window + 1, bounds=_SHARE)
def spike_share(grid: Grid, habit: int, window: int) -> Array:
    """Share of the squared returns of {window} bars in those beyond three deviations of the {habit} before [fraction]"""
    z, squares = grid.once(return_surprise, habit), grid.squared_return
    squares = np.where(np.isfinite(z), squares, np.nan)
    spikes = np.where(np.abs(z) > _SPIKE, squares, squares * 0)
    return np.minimum(ratio(grid.mean(spikes, window), grid.mean(squares, window)), 1)


def _surprise(grid: Grid, x: Array, window: int) -> Array:
    mean, variance = grid.moments(x, window)
    z = ratio(x - grid.lag(mean, 1), np.sqrt(grid.lag(variance, 1)))
    return np.clip(z, -_MOST, _MOST)


def _scores(grid: Grid, window: int) -> Array:
    z = ratio(grid.log_return, grid.lag(grid.std(grid.log_return, window), 1))
    volume = np.maximum(_surprise(grid, grid.log_turnover, window), 0)
    return np.sign(z) * np.minimum(np.minimum(np.abs(z), volume), _MOST)
