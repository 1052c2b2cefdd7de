"""Cross-asset: one symbol among the others of its venue at the same instant.

Ranks of momentum and volatility (cross-sectional momentum: Jegadeesh and Titman 1993; in crypto:
Liu, Tsyvinski and Wu 2022), breadth and dispersion of the market, and each symbol's beta and
correlation to bitcoin, with the momentum that is left once bitcoin's part is taken out (Blitz, Huij
and Martens 2011). A symbol that is missing at an instant is left out there. Null where fewer than
two symbols are present and, for the columns against bitcoin, where the venue has no bitcoin.
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array, rank_across
from features.momentum import log_return
from features.registry import feature
from features.volatility import realised_vol
from features.volume import volume_z

_SHARE = (0.0, 1.0)
_CORRELATION = (-1.0, 1.0)


@feature(windows=(24, 168), lookback=lambda window: window + 1, scope="panel", bounds=_SHARE)
def return_rank(grid: Grid, window: int) -> Array:
    """Rank of the {window}-bar return among the symbols, 0 lowest to 1 highest [rank]"""
    return rank_across(log_return(grid, window))


@feature(windows=(72,), lookback=lambda window: window + 1, scope="panel", bounds=_SHARE)
def volatility_rank(grid: Grid, window: int) -> Array:
    """Rank of the {window}-bar volatility among the symbols, 0 lowest to 1 highest [rank]"""
    return rank_across(realised_vol(grid, window))


@feature(windows=(168,), lookback=lambda window: window, scope="panel", bounds=_SHARE)
def volume_rank(grid: Grid, window: int) -> Array:
    """Rank of the surprise in turnover against {window} bars, 0 lowest to 1 highest [rank]"""
    return rank_across(volume_z(grid, window))


@feature(windows=(24,), lookback=lambda window: window + 1, scope="panel", bounds=_SHARE)
def breadth(grid: Grid, window: int) -> Array:
    """Share of the symbols that rose over {window} bars [fraction]"""
    change = log_return(grid, window)
    return _across(np.where(np.isfinite(change), change > 0, np.nan))


@feature(windows=(24,), lookback=lambda window: window + 1, scope="panel", bounds=(0.0, None))
def dispersion(grid: Grid, window: int) -> Array:
    """Standard deviation across symbols of their {window}-bar returns [log return]"""
    change = log_return(grid, window)
    return np.sqrt(_across((change - _across(change)) ** 2))


@feature(windows=(24, 168), lookback=lambda window: window + 1, scope="panel")
def relative_return(grid: Grid, window: int) -> Array:
    """Return over {window} bars minus the mean over the symbols [log return]"""
    change = log_return(grid, window)
    return change - _across(change)


@feature(windows=(168,), lookback=lambda window: window + 1, scope="panel")
def btc_beta(grid: Grid, window: int) -> Array:
    """Slope of the symbol's one-bar returns on bitcoin's over {window} bars [ratio]"""
    cov, _, variance = grid.covariance(grid.log_return, _bitcoin(grid, grid.log_return), window)
    return ratio(cov, variance)


@feature(windows=(168,), lookback=lambda window: window + 1, scope="panel", bounds=_CORRELATION)
def btc_correlation(grid: Grid, window: int) -> Array:
    """Correlation of the symbol's one-bar returns with bitcoin's over {window} bars [correlation]"""
    return grid.correlation(grid.log_return, _bitcoin(grid, grid.log_return), window)


@feature(
    windows=((24, 168), (72, 168)),
    lookback=lambda *windows: max(windows) + 1,
    scope="panel",
)
def residual_momentum(grid: Grid, bars: int, window: int) -> Array:
    """Return over {bars} bars minus the {window}-bar beta times bitcoin's [log return]"""
    change = log_return(grid, bars)
    return change - btc_beta(grid, window) * _bitcoin(grid, change)


@feature(windows=(1, 24), lookback=lambda window: window + 1, scope="panel")
def btc_return(grid: Grid, window: int) -> Array:
    """Return of bitcoin over {window} bars [log return]"""
    return _bitcoin(grid, log_return(grid, window))


def _across(x: Array) -> Array:
    """Return the mean over the symbols present at each instant, in every row; NaN below two."""
    present = np.isfinite(x)
    count = present.sum(axis=0)
    mean = np.where(count >= 2, np.where(present, x, 0).sum(axis=0) / count, np.nan)
    return np.broadcast_to(mean, x.shape).copy()


def _bitcoin(grid: Grid, x: Array) -> Array:
    """Return bitcoin's row of `x` in every row; NaN where there is no bitcoin, or nothing else."""
    row = grid.market("BTC")
    if row is None or len(grid.symbols) < 2:
        return np.full_like(x, np.nan)
    return np.broadcast_to(x[row], x.shape).copy()
