"""Sentiment: the Fear & Greed index of the crypto market, and how far it is from its extremes.

Published once a day by alternative.me from volatility, volume, social media, dominance and searches; the
same for every symbol. Extremes of sentiment revert (Baker and Wurgler 2006), in crypto with a strong
momentum before they do (Lopez-Cabarcos et al. 2021). Windows are in bars, so a value counts for as long as
it was the newest known: 24 bars are one publication, 720 thirty. Known from a written lag after its date
begins; null before February 2018 and where the publisher has been silent for days.
"""

import numpy as np

from features.as_of_join import reading
from features.grid import Grid
from features.kernels import Array
from features.registry import feature

_NEEDS = ("fear_greed",)
_SHARE = (0.0, 1.0)
_SIGNED_SHARE = (-1.0, 1.0)
_FEAR, _GREED = 25.0, 75.0
_LEAST_DEVIATION = 0.01


def _share(grid: Grid) -> Array:
    return reading(grid, "fear_greed") / 100


@feature(lookback=1, needs=_NEEDS, bounds=_SHARE)
def fear_greed(grid: Grid) -> Array:
    """Fear & Greed index, 0 extreme fear to 1 extreme greed [fraction]"""
    return grid.once(_share)


@feature(
    windows=(24, 168, 720), lookback=lambda window: window + 1, needs=_NEEDS, bounds=_SIGNED_SHARE
)
def fear_greed_change(grid: Grid, window: int) -> Array:
    """Fear & Greed index minus that of {window} bars before [fraction]"""
    change = grid.once(_share) - grid.lag(grid.once(_share), window)
    return grid.complete(change, window + 1)


@feature(windows=(720,), lookback=lambda window: window, needs=_NEEDS)
def fear_greed_z(grid: Grid, window: int) -> Array:
    """Fear & Greed index against that of the last {window} bars [standard deviations]"""
    mean, variance = grid.moments(grid.once(_share), window)
    return (grid.once(_share) - mean) / np.maximum(np.sqrt(variance), _LEAST_DEVIATION)


@feature(lookback=1, needs=_NEEDS, bounds=_SIGNED_SHARE)
def fear_greed_extreme(grid: Grid) -> Array:
    """How deep in extreme fear, negative, or extreme greed, positive; zero between 25 and 75 [signed fraction]"""
    points = 100 * grid.once(_share)
    greed = np.maximum(points - _GREED, 0) / (100 - _GREED)
    return greed - np.maximum(_FEAR - points, 0) / _FEAR
