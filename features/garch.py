"""GARCH: the conditional variance of the next bar, fitted on the past only.

Volatility comes in clusters; the variance of the next bar is a long-run level, the last surprise and
its own last value (Bollerslev 1986): `h' = (1 - a - b) * level + a * r^2 + b * h`. The level is the
variance of the fitting window (variance targeting: Engle and Mezrich 1996), which leaves two
parameters; they are chosen among pairs of the literature (Hansen and Lunde 2005; for bitcoin: Katsiampa
2017) by the likelihood of the same window. A search over a grid has no start value and no optimiser
that may fail in the night.

Bounded by definition: time is cut into blocks of `block` bars from 1970 on. The parameters of a block
are fitted on the two blocks before it and stand still in it; the filter runs from the beginning of the
fitting window. So every value is a function of at most three blocks of returns, and no value has seen
a return after it.
"""

import numpy as np

from features.grid import Grid
from features.kernels import Array, compiled
from features.registry import feature

# (weight of the last squared return, weight of the last variance).
CANDIDATES = np.array(
    [[0.03, 0.95], [0.05, 0.93], [0.05, 0.90], [0.08, 0.90], [0.10, 0.85], [0.15, 0.80]]
)
COVERAGE = 0.95
_BLOCK = (168,)
_NOT_NEGATIVE = (0.0, None)


def _window(block: int) -> int:
    return 3 * block + 1


@feature(windows=_BLOCK, lookback=_window, bounds=_NOT_NEGATIVE)
def garch_vol(grid: Grid, block: int) -> Array:
    """Volatility of the next bar by GARCH(1,1) fitted on the two blocks of {block} bars before [log return per bar]"""
    return np.sqrt(grid.once(_filtered, block)[1])


@feature(windows=_BLOCK, lookback=_window)
def garch_surprise(grid: Grid, block: int) -> Array:
    """Return in units of the volatility GARCH(1,1) of {block}-bar blocks had expected [standard deviations]"""
    return grid.log_return / np.sqrt(grid.once(_filtered, block)[0])


@feature(windows=_BLOCK, lookback=_window)
def garch_excess(grid: Grid, block: int) -> Array:
    """Log of the GARCH(1,1) volatility of the next bar over its long-run level, blocks of {block} [log ratio]"""
    _, ahead, level = grid.once(_filtered, block)
    return 0.5 * np.log(ahead / level)


def _filtered(grid: Grid, block: int) -> tuple[Array, Array, Array]:
    return filter_variance(grid.log_return, grid.start, block, CANDIDATES)


@compiled
def filter_variance(
    r: Array, start: int, block: int, candidates: Array
) -> tuple[Array, Array, Array]:
    """Return the variance expected of each bar, that expected of the next, and the long-run level.

    Parameters
    ----------
    r : float64 array [symbols, bars]
        Returns; NaN where a bar is missing: the state then stays as it is.
    start : int
        Number of the first bar since 1970.
    block : int
        Bars between two fits; a fit looks at the two blocks before.
    candidates : float64 array [pairs, 2]
        Weights of the squared return and of the variance.

    Returns
    -------
    tuple of float64 arrays [symbols, bars]
        NaN where fewer than 95 % of the returns are there that the fit, or the filter so far, looks
        at, and where all of the fit are zero.
    """
    rows, n = r.shape
    now, ahead, level = np.full_like(r, np.nan), np.full_like(r, np.nan), np.full_like(r, np.nan)
    for row in range(rows):
        for first in range(-(start % block) + 2 * block, n, block):
            begin = first - 2 * block
            total, count = 0.0, 0
            for i in range(max(begin, 0), first):
                if not np.isnan(r[row, i]):
                    total, count = total + r[row, i] ** 2, count + 1
            if count < COVERAGE * 2 * block or total == 0:
                continue
            target = total / count
            best, chosen = -np.inf, 0
            for k in range(candidates.shape[0]):
                fit = _log_likelihood(
                    r[row], max(begin, 0), first, target, candidates[k, 0], candidates[k, 1]
                )
                if fit > best:
                    best, chosen = fit, k
            a, b = candidates[chosen, 0], candidates[chosen, 1]
            h = target
            for i in range(max(begin, 0), min(first + block, n)):
                before = h
                if not np.isnan(r[row, i]):
                    h = (1 - a - b) * target + a * r[row, i] ** 2 + b * h
                    count += i >= first
                if i >= first and count >= COVERAGE * (i - begin + 1):
                    now[row, i], ahead[row, i], level[row, i] = before, h, target
    return now, ahead, level


@compiled
def _log_likelihood(r: Array, begin: int, end: int, target: float, a: float, b: float) -> float:
    h, total = target, 0.0
    for i in range(begin, end):
        if not np.isnan(r[i]):
            square = r[i] ** 2
            total -= np.log(h) + square / h
            h = (1 - a - b) * target + a * square + b * h
    return total
