"""Market factor: the one movement that most coins share, and what a coin does beside it.

The first principal component of the correlations of returns (of stocks: Laloux et al. 1999; Avellaneda and
Lee 2010, whose residuals revert; of crypto: Shams 2020). Its share in the variance of all says how far the
market moves as one, which it does in panics; a symbol's loading says how far it is part of that.

Every day, at bar numbers that `REFIT` divides, the component is found anew in the correlations of the
trailing `window` bars, by a fixed number of steps of the power method from equal weights; it holds for
the bars of the day. Its sign is fixed so that the loadings sum to a positive number. A symbol with fewer than
95 % of the returns of the window has no loading; a missing return counts as the mean. Null where fewer
than two symbols have one.
"""

import numpy as np

from features.grid import Grid, required_bars
from features.kernels import Array, compiled
from features.momentum import log_return
from features.registry import feature

REFIT = 24
STEPS = 15


def _window(window: int) -> int:
    return window + REFIT


@feature(windows=(168,), lookback=_window, scope="panel", bounds=(0.0, 1.0))
def factor_share(grid: Grid, window: int) -> Array:
    """Share of the first component in the variance of the standardised returns of {window} bars [fraction]"""
    share = grid.once(_component, window)[1]
    return np.tile(share, (len(grid.symbols), 1))


@feature(windows=(168,), lookback=_window, scope="panel")
def factor_loading(grid: Grid, window: int) -> Array:
    """Correlation of the symbol's returns with the first component over {window} bars [correlation]"""
    loading, share = grid.once(_component, window)[:2]
    correlation: Array = loading * np.sqrt(share * np.isfinite(loading).sum(axis=0))
    return correlation


@feature(
    windows=((24, 168),),
    lookback=lambda bars, window: max(bars + 1, _window(window)),
    scope="panel",
)
def factor_return(grid: Grid, bars: int, window: int) -> Array:
    """Return of the first component of {window} bars over {bars} bars, of unit variance a bar [standard deviations]"""
    return np.tile(_moved(grid, bars, window)[0], (len(grid.symbols), 1))


@feature(
    windows=((24, 168),),
    lookback=lambda bars, window: max(bars + 1, _window(window)),
    scope="panel",
)
def factor_residual(grid: Grid, bars: int, window: int) -> Array:
    """Return over {bars} bars without what the first component of {window} bars explains [log return]"""
    loading, share, scale = grid.once(_component, window)
    score = _moved(grid, bars, window)[0]
    explained = loading * np.sqrt(share * np.isfinite(loading).sum(axis=0)) * scale * score
    rest: Array = grid.once(log_return, bars) - explained
    return rest


def _component(grid: Grid, window: int) -> tuple[Array, Array, Array]:
    return first_component(grid.log_return, grid.start, window, required_bars(window))


def _moved(grid: Grid, bars: int, window: int) -> tuple[Array, Array]:
    loading, share, scale = grid.once(_component, window)
    moved = loading * grid.once(log_return, bars) / scale
    present = np.isfinite(moved)
    variance = share * np.isfinite(loading).sum(axis=0)
    total = np.where(present, moved, 0.0).sum(axis=0) / np.sqrt(variance)
    return np.where(present.sum(axis=0) >= 2, total, np.nan), variance


@compiled
def first_component(r: Array, start: int, window: int, required: int) -> tuple[Array, Array, Array]:
    """Return loadings, share of variance and scales of the first principal component.

    Parameters
    ----------
    r : float64 array [symbols, bars]
        Returns, NaN where missing.
    start : int
        Number of the first bar since 1970.
    window, required : int
        Bars of an estimate, and how many of a symbol must be present.

    Returns
    -------
    loading : float64 array [symbols, bars]
        A unit vector at each instant, NaN for symbols without enough returns.
    share : float64 array [bars]
        Largest eigenvalue of the correlations over the number of symbols in them.
    scale : float64 array [symbols, bars]
        Standard deviation of the symbol's returns in the window.
    """
    rows, n = r.shape
    loading, scale = np.full_like(r, np.nan), np.full_like(r, np.nan)
    share = np.full(n, np.nan)
    first = -start % REFIT
    for at in range(first, n, REFIT):
        if at < window - 1:
            continue
        z, deviation, held = _standardised(r, at - window + 1, window, required)
        if held < 2:
            continue
        weight, value = _power(z, deviation, held)
        for i in range(at, min(at + REFIT, n)):
            share[i] = min(value / ((window - 1) * held), 1.0)
            for row in range(rows):
                if not np.isnan(deviation[row]):
                    loading[row, i], scale[row, i] = weight[row], deviation[row]
    return loading, share, scale


@compiled
def _standardised(r: Array, begin: int, window: int, required: int) -> tuple[Array, Array, int]:
    """Return standardised returns [bars, symbols], their deviations, and how many symbols have one."""
    rows = r.shape[0]
    z, deviation, held = np.zeros((window, rows)), np.full(rows, np.nan), 0
    for row in range(rows):
        count, mean, square = 0, 0.0, 0.0
        for i in range(begin, begin + window):
            if not np.isnan(r[row, i]):
                count, mean = count + 1, mean + r[row, i]
        mean /= max(count, 1)
        for i in range(begin, begin + window):
            if not np.isnan(r[row, i]):
                square += (r[row, i] - mean) ** 2
        if count < required or square == 0:
            continue
        held, deviation[row] = held + 1, np.sqrt(square / (count - 1))
        for i in range(window):
            if not np.isnan(r[row, begin + i]):
                z[i, row] = (r[row, begin + i] - mean) / deviation[row]
    return z, deviation, held


@compiled
def _power(z: Array, deviation: Array, held: int) -> tuple[Array, float]:
    """Return the first eigenvector of `z.T @ z` and its eigenvalue."""
    window, rows = z.shape
    weight, following, value = np.empty(rows), np.empty(rows), 0.0
    for row in range(rows):
        weight[row] = 0.0 if np.isnan(deviation[row]) else 1 / np.sqrt(held)
    for _ in range(STEPS):
        square, total = 0.0, 0.0
        for row in range(rows):
            following[row] = 0.0
        for i in range(window):
            score = 0.0
            for row in range(rows):
                score += z[i, row] * weight[row]
            for row in range(rows):
                following[row] += score * z[i, row]
        for row in range(rows):
            square += following[row] ** 2
            total += following[row]
        value = np.sqrt(square)
        for row in range(rows):
            weight[row] = following[row] / (value if total >= 0 else -value)
    return weight, value
