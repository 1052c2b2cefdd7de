"""Spectral: which periods the recent movement is made of, and where in them it stands.

Cycles: the discrete Fourier transform of the last bars' returns, at one period each: the squared length
of the mean of return times a rotating unit vector, as a share of the mean squared return. White noise
gives 1 / window on average, a pure cycle 0.5. The vector turns with absolute time, and power does not
depend on the phase, so each bin is a trailing mean (the sliding transform of Jacobsen and Lyons 2003
without its drift). The phase is that of the cycle at the newest bar.

Wavelets: Haar's, undecimated (the a trous algorithm; Percival and Walden 2000), of the log price. A
detail of level j is half the difference of two neighbouring means of 2^(j-1) bars, the newer at the
newest bar, so that unlike the centred transforms it is known at the close (Renaud, Starck and Murtagh
2003). The details of all levels and the smooth add up to the price. A level's energy is its share in the
squared details of a window; their entropy says whether one scale rules.
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature

_SHARE = (0.0, 1.0)
_CIRCLE = (-1.0, 1.0)
_LEVELS = 6


@feature(
    windows=((6, 168), (12, 168), (24, 168), (48, 336), (168, 672)),
    lookback=lambda *windows: max(windows) + 1,
    bounds=_SHARE,
)
def cycle_power(grid: Grid, period: int, window: int) -> Array:
    """Share of the squared returns of {window} bars in a cycle of {period} bars [fraction]"""
    along, across = grid.once(_bin, period, window)
    return ratio(along**2 + across**2, grid.mean(grid.squared_return, window))


@feature(
    windows=((24, 168), (168, 672)), lookback=lambda *windows: max(windows) + 1, bounds=_CIRCLE
)
def cycle_sin(grid: Grid, period: int, window: int) -> Array:
    """Sine of the phase at which the {period}-bar cycle of {window} bars of returns stands [position on a circle]"""
    along, across = grid.once(_bin, period, window)
    angle = _angle(grid, period)
    return ratio(along * np.sin(angle) - across * np.cos(angle), np.hypot(along, across))


@feature(
    windows=((24, 168), (168, 672)), lookback=lambda *windows: max(windows) + 1, bounds=_CIRCLE
)
def cycle_cos(grid: Grid, period: int, window: int) -> Array:
    """Cosine of the phase at which the {period}-bar cycle of {window} bars of returns stands, one at its peak [position on a circle]"""
    along, across = grid.once(_bin, period, window)
    angle = _angle(grid, period)
    return ratio(along * np.cos(angle) + across * np.sin(angle), np.hypot(along, across))


@feature(
    windows=((3, 168), (4, 168), (5, 168), (6, 168)),
    lookback=lambda level, window: 2**level + window,
)
def wavelet_detail(grid: Grid, level: int, window: int) -> Array:
    """Haar detail of level {level} of the log close, over the volatility of {window} bars [standard deviations]"""
    return ratio(grid.once(_details)[level - 1], grid.std(grid.log_return, window))


@feature(
    windows=((2, 168), (3, 168), (4, 168), (5, 168), (6, 168)),
    lookback=lambda _, window: 2**_LEVELS + window,
    bounds=_SHARE,
)
def wavelet_energy(grid: Grid, level: int, window: int) -> Array:
    """Share of level {level} in the squared Haar details of {window} bars, six levels [fraction]"""
    return grid.once(_energies, window)[level - 1]


@feature(windows=(168,), lookback=lambda window: 2**_LEVELS + window, bounds=_SHARE)
def wavelet_entropy(grid: Grid, window: int) -> Array:
    """Entropy of the energies of six Haar levels over {window} bars, one where they are equal [fraction]"""
    total = np.zeros_like(grid.close)
    for share in grid.once(_energies, window):
        total -= share * np.log(share)
    evenness: Array = total / np.log(_LEVELS)
    return evenness


def _angle(grid: Grid, period: int) -> Array:
    return 2 * np.pi * (grid.numbers % period) / period


def _bin(grid: Grid, period: int, window: int) -> tuple[Array, Array]:
    angle = _angle(grid, period)
    return (
        grid.mean(grid.log_return * np.cos(angle), window),
        grid.mean(grid.log_return * np.sin(angle), window),
    )


def _details(grid: Grid) -> tuple[Array, ...]:
    smooth, details = grid.log_close, []
    for level in range(_LEVELS):
        next_smooth = (smooth + grid.lag(smooth, 2**level)) / 2
        details.append(smooth - next_smooth)
        smooth = next_smooth
    return tuple(details)


def _energies(grid: Grid, window: int) -> tuple[Array, ...]:
    parts = [grid.mean(detail**2, window) for detail in grid.once(_details)]
    whole = sum(parts)
    return tuple(ratio(part, np.asarray(whole)) for part in parts)
