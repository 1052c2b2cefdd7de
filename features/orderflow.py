"""Order flow: who crossed the spread, and in what size.

A taker pays to trade now, so the balance of taker buying and selling is the pressure behind the
price (Chordia, Roll and Subrahmanyam 2002; Cont, Kukanov and Stoikov 2014), and the size of a
trade tells large from small hands. These need what not every venue publishes: they are null,
never zero, where it is missing.
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature

_SIGNED_SHARE = (-1.0, 1.0)
_TAKER = ("taker_buy_volume",)
_TRADES = ("trades",)


@feature(windows=(1, 24), lookback=lambda window: window, needs=_TAKER, bounds=_SIGNED_SHARE)
def taker_imbalance(grid: Grid, window: int) -> Array:
    """Taker buying minus selling over the volume of {window} bars [signed fraction]"""
    bought = grid.taker_buy_volume
    volume = np.where(np.isfinite(bought), grid.volume, np.nan)
    share = ratio(grid.mean(bought, window), grid.mean(volume, window))
    return np.clip(2 * share - 1, -1, 1)


@feature(windows=(168,), lookback=lambda window: window, needs=_TAKER)
def taker_imbalance_z(grid: Grid, window: int) -> Array:
    """Taker imbalance of the bar against the last {window} [standard deviations]"""
    return grid.zscore(taker_imbalance(grid, 1), window)


@feature(windows=(72,), lookback=lambda window: window + 1, needs=_TAKER, bounds=_SIGNED_SHARE)
def flow_return_correlation(grid: Grid, window: int) -> Array:
    """Correlation of taker imbalance and return over {window} bars [correlation]"""
    return grid.correlation(taker_imbalance(grid, 1), grid.log_return, window)


@feature(windows=(168,), lookback=lambda window: window, needs=_TRADES)
def trade_size_z(grid: Grid, window: int) -> Array:
    """Log turnover per trade of the bar against the last {window} [standard deviations]"""
    size = ratio(grid.turnover, grid.trades)
    return grid.zscore(np.log(np.where(size > 0, size, np.nan)), window)


@feature(windows=(168,), lookback=lambda window: window, needs=_TRADES)
def trade_count_z(grid: Grid, window: int) -> Array:
    """Log number of trades of the bar against the last {window} [standard deviations]"""
    return grid.zscore(np.log1p(grid.trades), window)
