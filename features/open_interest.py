"""Open interest: how many contracts of the symbol's perpetual are held, and whether money came or went.

Every contract has a long and a short, so open interest counts bets, not their side. It rises when new
money takes positions and falls when they are closed or liquidated: a rally on rising open interest is
bought, one on falling open interest is shorts giving up (Bessembinder and Seguin 1993; Hong and Yogo
2012; in crypto: Soska et al. 2021). Against the volume of a day it says how long the market would need
to get out. Counted in coins, so that the price alone does not move it; known some minutes after the
instant it is of. Binance serves thirty days of it: null before, and where the venue of derivatives has
no contract.
"""

import numpy as np

from features.as_of_join import reading
from features.grid import Grid, ratio
from features.kernels import Array, rank_across
from features.registry import feature

_NEEDS = ("open_interest",)
_SHARE = (0.0, 1.0)
_CORRELATION = (-1.0, 1.0)
_LEAST_DEVIATION = 1e-4


def _log_interest(grid: Grid) -> Array:
    held = reading(grid, "open_interest")
    return np.log(np.where(held > 0, held, np.nan))


def _hourly(grid: Grid) -> Array:
    return grid.once(_log_interest) - grid.lag(grid.once(_log_interest), 1)


@feature(windows=(1, 24, 168), lookback=lambda window: window + 1, needs=_NEEDS)
def open_interest_change(grid: Grid, window: int) -> Array:
    """Log change of open interest over {window} bars [log ratio]"""
    change = grid.once(_log_interest) - grid.lag(grid.once(_log_interest), window)
    return grid.complete(change, window + 1)


@feature(windows=(168,), lookback=lambda window: window, needs=_NEEDS)
def open_interest_z(grid: Grid, window: int) -> Array:
    """Log open interest against that of the last {window} bars [standard deviations]"""
    mean, variance = grid.moments(grid.once(_log_interest), window)
    return (grid.once(_log_interest) - mean) / np.maximum(np.sqrt(variance), _LEAST_DEVIATION)


@feature(windows=(24,), lookback=lambda window: window, needs=_NEEDS)
def open_interest_to_volume(grid: Grid, window: int) -> Array:
    """Log of open interest over the spot volume of {window} bars [log ratio]"""
    volume = window * grid.mean(grid.volume, window)
    return grid.once(_log_interest) - np.log(np.where(volume > 0, volume, np.nan))


@feature(windows=(168,), lookback=lambda window: window + 1, needs=_NEEDS, bounds=_CORRELATION)
def open_interest_return_correlation(grid: Grid, window: int) -> Array:
    """Correlation of the changes of open interest and price over {window} bars [correlation]"""
    return grid.correlation(grid.once(_hourly), grid.log_return, window)


@feature(windows=((24, 168),), lookback=lambda *windows: max(windows) + 1, needs=_NEEDS)
def open_interest_divergence(grid: Grid, bars: int, window: int) -> Array:
    """Change of open interest over {bars} bars minus the return, each in deviations of {window} bars [standard deviations]"""
    of_interest = grid.moments(grid.once(_hourly), window)[1]
    of_price = grid.moments(grid.log_return, window)[1]
    change = bars * grid.mean(grid.once(_hourly), bars)
    moved = bars * grid.mean(grid.log_return, bars)
    deviation = np.maximum(np.sqrt(of_interest), _LEAST_DEVIATION)
    apart: Array = (change / deviation - ratio(moved, np.sqrt(of_price))) / np.sqrt(bars)
    return apart


@feature(
    windows=(24,), lookback=lambda window: window + 1, scope="panel", needs=_NEEDS, bounds=_SHARE
)
def open_interest_rank(grid: Grid, window: int) -> Array:
    """Rank of the change of open interest over {window} bars among the symbols, 0 lowest to 1 highest [rank]"""
    return rank_across(grid.once(open_interest_change, window))
