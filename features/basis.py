"""Basis: how far the symbol's perpetual trades from the index of its spot markets.

Whoever wants to be long with borrowed money pays for it in the price of the future before it shows in
funding, so the basis leads the payments and says which side is in a hurry (Schmeling, Schrimpf and Todorov
2023; in futures at large: Gorton, Hayashi and Rouwenhorst 2013). It is the premium index of the venue of
derivatives: impact bid and ask against an index over several exchanges, with history, and without the
noise of two last trades that did not happen at the same instant. Positive where the perpetual is dearer.
Null before the contract existed and where there is none.
"""

import numpy as np

from features.as_of_join import reading
from features.grid import Grid
from features.kernels import Array, rank_across
from features.registry import feature

_NEEDS = ("premium",)
_SHARE = (0.0, 1.0)
# A tenth of a basis point.
_LEAST_DEVIATION = 1e-5


def _premium(grid: Grid) -> Array:
    return reading(grid, "premium")


@feature(lookback=1, needs=_NEEDS)
def basis_level(grid: Grid) -> Array:
    """Perpetual over its index at the close [fraction]"""
    return grid.once(_premium)


@feature(windows=(8, 24, 168), lookback=lambda window: window, needs=_NEEDS)
def basis_mean(grid: Grid, window: int) -> Array:
    """Mean basis of {window} bars [fraction]"""
    return grid.mean(grid.once(_premium), window)


@feature(windows=(72, 720), lookback=lambda window: window, needs=_NEEDS)
def basis_z(grid: Grid, window: int) -> Array:
    """Basis against that of the last {window} bars [standard deviations]"""
    mean, variance = grid.moments(grid.once(_premium), window)
    return (grid.once(_premium) - mean) / np.maximum(np.sqrt(variance), _LEAST_DEVIATION)


@feature(windows=(24,), lookback=lambda window: window + 1, needs=_NEEDS)
def basis_change(grid: Grid, window: int) -> Array:
    """Basis minus that of {window} bars before [fraction]"""
    change = grid.once(_premium) - grid.lag(grid.once(_premium), window)
    return grid.complete(change, window + 1)


@feature(windows=(168,), lookback=lambda window: window, needs=_NEEDS, bounds=(0.0, None))
def basis_vol(grid: Grid, window: int) -> Array:
    """Standard deviation of the basis of {window} bars [fraction]"""
    return grid.std(grid.once(_premium), window)


@feature(windows=(8,), lookback=lambda window: window, needs=("premium", "funding_rate"))
def basis_minus_funding(grid: Grid, window: int) -> Array:
    """Mean basis of {window} bars minus the newest funding, where funding is heading [fraction]"""
    return grid.mean(grid.once(_premium), window) - reading(grid, "funding_rate")


@feature(windows=(8,), lookback=lambda window: window, scope="panel", needs=_NEEDS, bounds=_SHARE)
def basis_rank(grid: Grid, window: int) -> Array:
    """Rank of the mean basis of {window} bars among the symbols, 0 lowest to 1 highest [rank]"""
    return rank_across(grid.mean(grid.once(_premium), window))
