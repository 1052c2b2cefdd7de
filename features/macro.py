"""Macro: the fear gauge of the stock market and the dollar, as far as their closes are public.

Crypto has moved with risk appetite since 2020: it falls when the VIX jumps, and when the dollar rises
(Iyer 2022; Liu and Tsyvinski 2021 on what moves coins; the VIX: Whaley 2000; the dollar as a gauge of
global liquidity: Bruno and Shin 2015). Both are daily closes of New York, known from a written lag on: never
on the day they are of, whose last hours they would tell. Windows are in bars, so a close counts for as
long as it was the newest known, Friday's over the weekend; 24, 120 and 480 bars are one, five and twenty
days of the calendar. The same for every symbol. Null where the publisher has been silent for longer than a
long weekend.
"""

from datetime import timedelta

import numpy as np

from features.as_of_join import reading
from features.grid import Grid
from features.kernels import Array
from features.registry import feature

_VIX, _DXY = ("vix",), ("dxy",)
_LEAST_DEVIATION = 1e-4
_YEAR = timedelta(days=365)


def _log_vix(grid: Grid) -> Array:
    return np.log(reading(grid, "vix"))


def _log_dxy(grid: Grid) -> Array:
    return np.log(reading(grid, "dxy"))


def _change(grid: Grid, x: Array, window: int) -> Array:
    return grid.complete(x - grid.lag(x, window), window + 1)


def _z(grid: Grid, x: Array, window: int) -> Array:
    mean, variance = grid.moments(x, window)
    return (x - mean) / np.maximum(np.sqrt(variance), _LEAST_DEVIATION)


@feature(lookback=1, needs=_VIX)
def vix_level(grid: Grid) -> Array:
    """Logarithm of the VIX [log annual percent]"""
    return grid.once(_log_vix)


@feature(windows=(24, 120, 480), lookback=lambda window: window + 1, needs=_VIX)
def vix_change(grid: Grid, window: int) -> Array:
    """Log change of the VIX over {window} bars [log ratio]"""
    return _change(grid, grid.once(_log_vix), window)


@feature(windows=(480, 720), lookback=lambda window: window, needs=_VIX)
def vix_z(grid: Grid, window: int) -> Array:
    """Log VIX against that of the last {window} bars [standard deviations]"""
    return _z(grid, grid.once(_log_vix), window)


@feature(windows=(24, 120, 480), lookback=lambda window: window + 1, needs=_DXY)
def dxy_return(grid: Grid, window: int) -> Array:
    """Log return of the dollar index over {window} bars [log return]"""
    return _change(grid, grid.once(_log_dxy), window)


@feature(windows=(480, 720), lookback=lambda window: window, needs=_DXY)
def dxy_z(grid: Grid, window: int) -> Array:
    """Log dollar index against that of the last {window} bars [standard deviations]"""
    return _z(grid, grid.once(_log_dxy), window)


@feature(windows=(480,), lookback=lambda window: window + 1, needs=_VIX)
def vix_to_volatility(grid: Grid, window: int) -> Array:
    """Log of the VIX over the volatility of the symbol's {window} bars, in one unit [log ratio]"""
    annual = 100 * grid.std(grid.log_return, window) * np.sqrt(_YEAR / grid.timeframe)
    return grid.once(_log_vix) - np.log(np.where(annual > 0, annual, np.nan))
