"""Spectral: how much of the recent movement repeats with a given period.

The discrete Fourier transform of the last bars' returns, at one period each: the squared length of
the mean of return times a rotating unit vector, as a share of the mean squared return. White noise
gives 1 / window on average, a pure cycle 0.5. The vector turns with absolute time, and power does
not depend on the phase, so each bin is a trailing mean (the sliding transform of Jacobsen and Lyons
2003 without its drift).
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature


@feature(
    windows=((6, 168), (12, 168), (24, 168), (168, 672)),
    lookback=lambda *windows: max(windows) + 1,
    bounds=(0.0, 1.0),
)
def cycle_power(grid: Grid, period: int, window: int) -> Array:
    """Share of the squared returns of {window} bars in a cycle of {period} bars [fraction]"""
    angle = 2 * np.pi * (grid.numbers % period) / period
    along = grid.mean(grid.log_return * np.cos(angle), window)
    across = grid.mean(grid.log_return * np.sin(angle), window)
    return ratio(along**2 + across**2, grid.mean(grid.log_return**2, window))
