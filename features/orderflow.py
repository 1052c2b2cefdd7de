"""Order flow: who crossed the spread, and in what size.

A taker pays to trade now, so the balance of taker buying and selling is the pressure behind the
price (Chordia, Roll and Subrahmanyam 2002; Cont, Kukanov and Stoikov 2014); it comes in runs because
large orders are split (Lillo and Farmer 2004). What the price did beyond its usual answer to the flow
is news, or a wall. The size of a trade tells large from small hands. These need what not every
venue publishes: they are null, never zero, where it is missing.
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature

_SIGNED_SHARE = (-1.0, 1.0)
_SHARE = (0.0, 1.0)
_TAKER = ("taker_buy_volume",)
_TRADES = ("trades",)


@feature(
    windows=(1, 6, 24, 168), lookback=lambda window: window, needs=_TAKER, bounds=_SIGNED_SHARE
)
def taker_imbalance(grid: Grid, window: int) -> Array:
    """Taker buying minus selling over the volume of {window} bars [signed fraction]"""
    bought = grid.taker_buy_volume
    share = ratio(grid.mean(bought, window), grid.mean(grid.once(_told_volume), window))
    return np.clip(2 * share - 1, -1, 1)


@feature(windows=(168,), lookback=lambda window: window, needs=_TAKER)
def taker_imbalance_z(grid: Grid, window: int) -> Array:
    """Taker imbalance of the bar against the last {window} [standard deviations]"""
    return grid.zscore(grid.once(taker_imbalance, 1), window)


@feature(
    windows=((6, 72),), lookback=lambda *windows: max(windows), needs=_TAKER, bounds=(-2.0, 2.0)
)
def taker_shift(grid: Grid, short: int, long: int) -> Array:
    """Taker imbalance of {short} bars minus that of {long} [signed fraction]"""
    return grid.once(taker_imbalance, short) - grid.once(taker_imbalance, long)


@feature(windows=(48,), lookback=lambda window: window, needs=_TAKER, bounds=_SHARE)
def taker_toxicity(grid: Grid, window: int) -> Array:
    """Mean size of the taker imbalance over the volume of {window} bars [fraction]"""
    size = np.abs(2 * grid.taker_buy_volume - grid.volume)
    share = ratio(grid.mean(size, window), grid.mean(grid.once(_told_volume), window))
    return np.minimum(share, 1)


@feature(
    windows=((1, 168),),
    lookback=lambda lag, window: window + lag,
    needs=_TAKER,
    bounds=_SIGNED_SHARE,
)
def flow_autocorrelation(grid: Grid, lag: int, window: int) -> Array:
    """Correlation of the taker imbalance with that {lag} bars before, over {window} bars [correlation]"""
    flow = grid.once(taker_imbalance, 1)
    return grid.correlation(flow, grid.lag(flow, lag), window)


@feature(windows=(72,), lookback=lambda window: window + 1, needs=_TAKER, bounds=_SIGNED_SHARE)
def flow_return_correlation(grid: Grid, window: int) -> Array:
    """Correlation of taker imbalance and return over {window} bars [correlation]"""
    return grid.correlation(grid.once(taker_imbalance, 1), grid.log_return, window)


@feature(windows=(168,), lookback=lambda window: window + 1, needs=_TAKER)
def flow_impact(grid: Grid, window: int) -> Array:
    """Slope of the return on the taker imbalance over {window} bars [log return]"""
    cov, variance, _ = grid.covariance(grid.once(taker_imbalance, 1), grid.log_return, window)
    return ratio(cov, variance)


@feature(windows=((24, 168),), lookback=lambda *windows: max(windows) + 1, needs=_TAKER)
def return_beyond_flow(grid: Grid, bars: int, window: int) -> Array:
    """Return over {bars} bars minus what their taker imbalance usually moves, slope of {window} bars [log return]"""
    usual = grid.once(flow_impact, window) * grid.mean(grid.once(taker_imbalance, 1), bars)
    return bars * (grid.mean(grid.log_return, bars) - usual)


@feature(windows=(168,), lookback=lambda window: window, needs=_TRADES)
def trade_size_z(grid: Grid, window: int) -> Array:
    """Log turnover per trade of the bar against the last {window} [standard deviations]"""
    size = ratio(grid.turnover, grid.trades)
    return grid.zscore(np.log(np.where(size > 0, size, np.nan)), window)


@feature(windows=((24, 168),), lookback=lambda *windows: max(windows), needs=_TRADES)
def trade_size_trend(grid: Grid, short: int, long: int) -> Array:
    """Log of the turnover per trade of {short} bars over that of {long} [log ratio]"""
    return np.log(ratio(_trade_size(grid, short), _trade_size(grid, long)))


@feature(windows=(168,), lookback=lambda window: window, needs=_TRADES)
def trade_count_z(grid: Grid, window: int) -> Array:
    """Log number of trades of the bar against the last {window} [standard deviations]"""
    return grid.zscore(np.log1p(grid.trades), window)


def _told_volume(grid: Grid) -> Array:
    return np.where(np.isfinite(grid.taker_buy_volume), grid.volume, np.nan)


def _trade_size(grid: Grid, window: int) -> Array:
    told = np.where(np.isfinite(grid.trades), grid.turnover, np.nan)
    return ratio(grid.mean(told, window), grid.mean(grid.trades, window))
