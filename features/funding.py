"""Funding: what holders of the symbol's perpetual pay to stay long, and since when.

A perpetual is tied to the spot price by payments between its longs and shorts. High funding says
that longs crowd in with borrowed money: a carry that can be earned, and a crash to be feared when
they are thrown out (Schmeling, Schrimpf and Todorov 2023; He, Manela, Ross and von Wachter 2022; carry in
general: Koijen, Moskowitz, Pedersen and Vrugt 2018). Rates are what was paid, not what is forecast, in one
unit for eight hours, because contracts pay every eight, four, two or one. Eight-hourly payments fill
windows of 24, 72 and 168 bars three, nine and twenty-one times; the mean of a week is also what a
week has cost, and times 1,095 the rate a year. Null before the contract existed, where it is delisted,
and where the venue of derivatives has none.
"""

import numpy as np

from features.as_of_join import reading
from features.grid import Grid, ratio
from features.kernels import Array, rank_across
from features.registry import feature
from features.volatility import realised_vol

_NEEDS = ("funding_rate",)
_SHARE = (0.0, 1.0)
_SIGNED_SHARE = (-1.0, 1.0)
# A hundredth of a basis point: rates stand still for days, and nothing is many deviations from that.
_LEAST_DEVIATION = 1e-6


def _rate(grid: Grid) -> Array:
    return reading(grid, "funding_rate")


@feature(lookback=1, needs=_NEEDS)
def funding_level(grid: Grid) -> Array:
    """Newest funding that was paid [fraction for 8 hours]"""
    return grid.once(_rate)


@feature(windows=(24, 72, 168), lookback=lambda window: window, needs=_NEEDS)
def funding_mean(grid: Grid, window: int) -> Array:
    """Mean funding over {window} bars [fraction for 8 hours]"""
    return grid.mean(grid.once(_rate), window)


@feature(windows=(168, 720), lookback=lambda window: window, needs=_NEEDS)
def funding_z(grid: Grid, window: int) -> Array:
    """Funding against that of the last {window} bars [standard deviations]"""
    mean, variance = grid.moments(grid.once(_rate), window)
    return (grid.once(_rate) - mean) / np.maximum(np.sqrt(variance), _LEAST_DEVIATION)


@feature(windows=(24, 168), lookback=lambda window: window + 1, needs=_NEEDS)
def funding_change(grid: Grid, window: int) -> Array:
    """Funding minus that of {window} bars before [fraction for 8 hours]"""
    change = grid.once(_rate) - grid.lag(grid.once(_rate), window)
    return grid.complete(change, window + 1)


@feature(windows=(168,), lookback=lambda window: window, needs=_NEEDS, bounds=(0.0, None))
def funding_vol(grid: Grid, window: int) -> Array:
    """Standard deviation of the funding of {window} bars [fraction for 8 hours]"""
    return grid.std(grid.once(_rate), window)


@feature(windows=(720,), lookback=lambda window: window, needs=_NEEDS, bounds=_SIGNED_SHARE)
def funding_sign(grid: Grid, window: int) -> Array:
    """Share of {window} bars in which longs paid minus that in which shorts did [signed fraction]"""
    return np.clip(grid.mean(np.sign(grid.once(_rate)), window), -1, 1)


@feature(windows=((168, 168),), lookback=lambda *windows: max(windows) + 1, needs=_NEEDS)
def funding_to_vol(grid: Grid, bars: int, window: int) -> Array:
    """Mean funding of {bars} bars over the volatility of {window}, what a carry earns for its risk [ratio]"""
    return ratio(grid.mean(grid.once(_rate), bars), realised_vol(grid, window))


@feature(windows=((24, 168),), lookback=lambda *windows: max(windows) + 1, needs=_NEEDS)
def funding_beyond_return(grid: Grid, bars: int, window: int) -> Array:
    """Deviation of the mean funding of {bars} bars minus that of their return, both by {window} bars [standard deviations]"""
    mean, variance = grid.moments(grid.once(_rate), window)
    crowd = grid.mean(grid.once(_rate), bars) - mean
    crowd /= np.maximum(np.sqrt(variance), _LEAST_DEVIATION)
    return crowd - ratio(
        bars * grid.mean(grid.log_return, bars), realised_vol(grid, window) * np.sqrt(bars)
    )


@feature(lookback=1, scope="panel", needs=_NEEDS, bounds=_SHARE)
def funding_rank(grid: Grid) -> Array:
    """Rank of the funding among the symbols, 0 lowest to 1 highest [rank]"""
    return rank_across(grid.once(_rate))


@feature(windows=(168,), lookback=lambda window: window, scope="panel", needs=_NEEDS)
def funding_spread(grid: Grid, window: int) -> Array:
    """Mean funding over {window} bars minus the mean of that over the symbols [fraction for 8 hours]"""
    own = grid.mean(grid.once(_rate), window)
    held = np.isfinite(own)
    total, count = np.where(held, own, 0).sum(axis=0), held.sum(axis=0)
    return np.where(count > 1, own - total / np.maximum(count, 1), np.nan)
