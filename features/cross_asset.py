"""Cross-asset: one symbol among the others of its venue at the same instant.

Ranks of momentum, volatility, volume and illiquidity (cross-sectional momentum: Jegadeesh and Titman 1993;
in crypto: Liu, Tsyvinski and Wu 2022), breadth, dispersion and common movement of the market, and each
symbol's beta and correlation to bitcoin and ether, the beta in falling markets (Ang, Chen and Xing 2006),
who leads whom (Lo and MacKinlay 1990), the momentum that is left once bitcoin's part is taken out
(Blitz, Huij and Martens 2011), and the price in bitcoin. A symbol that is missing at an instant is
left out there. Null where fewer than two symbols are present and, for the columns against a coin, where
the venue does not trade it.
"""

import numpy as np

from features.grid import Grid, ratio
from features.kernels import Array, rank_across
from features.momentum import drawdown, log_return
from features.registry import feature
from features.volatility import realised_vol
from features.volume import amihud, volume_z

_SHARE = (0.0, 1.0)
_CORRELATION = (-1.0, 1.0)
_BTC, _ETH = ("BTC",), ("ETH",)


@feature(windows=(24, 168), lookback=lambda window: window + 1, scope="panel", bounds=_SHARE)
def return_rank(grid: Grid, window: int) -> Array:
    """Rank of the {window}-bar return among the symbols, 0 lowest to 1 highest [rank]"""
    return rank_across(grid.once(log_return, window))


@feature(windows=(72,), lookback=lambda window: window + 1, scope="panel", bounds=_SHARE)
def volatility_rank(grid: Grid, window: int) -> Array:
    """Rank of the {window}-bar volatility among the symbols, 0 lowest to 1 highest [rank]"""
    return rank_across(realised_vol(grid, window))


@feature(windows=(168,), lookback=lambda window: window, scope="panel", bounds=_SHARE)
def volume_rank(grid: Grid, window: int) -> Array:
    """Rank of the surprise in turnover against {window} bars, 0 lowest to 1 highest [rank]"""
    return rank_across(volume_z(grid, window))


@feature(windows=(168,), lookback=lambda window: window + 1, scope="panel", bounds=_SHARE)
def illiquidity_rank(grid: Grid, window: int) -> Array:
    """Rank of the price move per turnover of {window} bars, 0 lowest to 1 highest [rank]"""
    return rank_across(amihud(grid, window))


@feature(windows=(168,), lookback=lambda window: window, scope="panel", bounds=_SHARE)
def drawdown_rank(grid: Grid, window: int) -> Array:
    """Rank of the distance below the high of {window} bars, 0 deepest to 1 nearest [rank]"""
    return rank_across(drawdown(grid, window))


@feature(windows=(24, 168), lookback=lambda window: window + 1, scope="panel", bounds=_SHARE)
def breadth(grid: Grid, window: int) -> Array:
    """Share of the symbols that rose over {window} bars [fraction]"""
    change = grid.once(log_return, window)
    return _across(np.where(np.isfinite(change), change > 0, np.nan))


@feature(windows=(168,), lookback=lambda window: window, scope="panel", bounds=_SHARE)
def breadth_above_mean(grid: Grid, window: int) -> Array:
    """Share of the symbols whose close is above its mean of {window} bars [fraction]"""
    distance = grid.close - grid.mean(grid.close, window)
    return _across(np.where(np.isfinite(distance), distance > 0, np.nan))


@feature(
    windows=(1, 24, 168), lookback=lambda window: window + 1, scope="panel", bounds=(0.0, None)
)
def dispersion(grid: Grid, window: int) -> Array:
    """Standard deviation across symbols of their {window}-bar returns [log return]"""
    return np.sqrt(_across(grid.once(relative_return, window) ** 2))


@feature(windows=(24, 168), lookback=lambda window: window + 1, scope="panel")
def relative_return(grid: Grid, window: int) -> Array:
    """Return over {window} bars minus the mean over the symbols [log return]"""
    return grid.once(log_return, window) - grid.once(_market, window)


@feature(windows=(1, 24, 168), lookback=lambda window: window + 1, scope="panel")
def market_return(grid: Grid, window: int) -> Array:
    """Mean over the symbols of their return over {window} bars [log return]"""
    return grid.once(_market, window)


@feature(windows=(168,), lookback=lambda window: window + 1, scope="panel", bounds=(None, 1.0))
def market_correlation(grid: Grid, window: int) -> Array:
    """Mean correlation of the symbols' returns over {window} bars, from the variance of their mean [correlation]"""
    own = grid.moments(grid.log_return, window)[1]
    count = np.isfinite(own).sum(axis=0)
    whole = grid.moments(grid.once(_market, 1), window)[1] * count**2
    alone, root = _across(own) * count, _across(np.sqrt(own)) * count
    return np.minimum(ratio(whole - alone, root**2 - alone), 1)


@feature(windows=(168, 720), lookback=lambda window: window + 1, scope="panel", markets=_BTC)
def btc_beta(grid: Grid, window: int) -> Array:
    """Slope of the symbol's one-bar returns on bitcoin's over {window} bars [ratio]"""
    cov, _, variance = grid.covariance(grid.log_return, grid.once(_bitcoin), window)
    return ratio(cov, variance)


@feature(windows=(336,), lookback=lambda window: window + 1, scope="panel", markets=_BTC)
def btc_downside_beta(grid: Grid, window: int) -> Array:
    """Slope of the symbol's returns on bitcoin's through zero, in the falling ones of {window} bars [ratio]"""
    falling = np.minimum(grid.once(_bitcoin), 0)
    both = grid.log_return * falling
    falling = np.where(np.isfinite(both), falling, np.nan)
    return ratio(grid.mean(both, window), grid.mean(falling**2, window))


@feature(
    windows=(72, 168), lookback=lambda window: window + 1, scope="panel", bounds=_CORRELATION,
    markets=_BTC,
)  # fmt: skip
def btc_correlation(grid: Grid, window: int) -> Array:
    """Correlation of the symbol's one-bar returns with bitcoin's over {window} bars [correlation]"""
    return grid.correlation(grid.log_return, grid.once(_bitcoin), window)


@feature(
    windows=((1, 168),), lookback=lambda lag, window: window + lag + 1, scope="panel",
    bounds=_CORRELATION, markets=_BTC,
)  # fmt: skip
def btc_leads(grid: Grid, lag: int, window: int) -> Array:
    """Correlation of the symbol's return with bitcoin's {lag} bars before, over {window} bars [correlation]"""
    return grid.correlation(grid.log_return, grid.lag(grid.once(_bitcoin), lag), window)


@feature(
    windows=((1, 168),), lookback=lambda lag, window: window + lag + 1, scope="panel",
    bounds=_CORRELATION, markets=_BTC,
)  # fmt: skip
def btc_follows(grid: Grid, lag: int, window: int) -> Array:
    """Correlation of bitcoin's return with the symbol's {lag} bars before, over {window} bars [correlation]"""
    return grid.correlation(grid.once(_bitcoin), grid.lag(grid.log_return, lag), window)


@feature(
    windows=((24, 168), (72, 168), (168, 720)),
    lookback=lambda *windows: max(windows) + 1,
    scope="panel",
    markets=_BTC,
)
def residual_momentum(grid: Grid, bars: int, window: int) -> Array:
    """Return over {bars} bars minus the {window}-bar beta times bitcoin's [log return]"""
    change = grid.once(log_return, bars)
    return change - grid.once(btc_beta, window) * _of(grid, "BTC", change)


@feature(windows=(1, 24, 168), lookback=lambda window: window + 1, scope="panel", markets=_BTC)
def btc_return(grid: Grid, window: int) -> Array:
    """Return of bitcoin over {window} bars [log return]"""
    return _of(grid, "BTC", grid.once(log_return, window))


@feature(windows=(168,), lookback=lambda window: window + 1, scope="panel", markets=_BTC)
def btc_vol_ratio(grid: Grid, window: int) -> Array:
    """Log of the symbol's volatility over bitcoin's, {window} bars [log ratio]"""
    own = grid.std(grid.log_return, window)
    return np.log(ratio(own, _of(grid, "BTC", own)))


@feature(windows=(168,), lookback=lambda window: window, scope="panel", markets=_BTC)
def btc_price_z(grid: Grid, window: int) -> Array:
    """Log price in bitcoin against its last {window} values, zero for bitcoin itself [standard deviations]"""
    price = grid.log_close - _of(grid, "BTC", grid.log_close)
    mean, variance = grid.moments(price, window)
    return np.where(variance == 0, 0.0, ratio(price - mean, np.sqrt(variance)))


@feature(windows=(168,), lookback=lambda window: window + 1, scope="panel", markets=_ETH)
def eth_beta(grid: Grid, window: int) -> Array:
    """Slope of the symbol's one-bar returns on ether's over {window} bars [ratio]"""
    cov, _, variance = grid.covariance(grid.log_return, grid.once(_ether), window)
    return ratio(cov, variance)


@feature(
    windows=(168,), lookback=lambda window: window + 1, scope="panel", bounds=_CORRELATION,
    markets=_ETH,
)  # fmt: skip
def eth_correlation(grid: Grid, window: int) -> Array:
    """Correlation of the symbol's one-bar returns with ether's over {window} bars [correlation]"""
    return grid.correlation(grid.log_return, grid.once(_ether), window)


@feature(
    windows=((1, 168),), lookback=lambda lag, window: window + lag + 1, scope="panel",
    bounds=_CORRELATION, markets=_ETH,
)  # fmt: skip
def eth_leads(grid: Grid, lag: int, window: int) -> Array:
    """Correlation of the symbol's return with ether's {lag} bars before, over {window} bars [correlation]"""
    return grid.correlation(grid.log_return, grid.lag(grid.once(_ether), lag), window)


@feature(windows=(24,), lookback=lambda window: window + 1, scope="panel", markets=_ETH)
def eth_return(grid: Grid, window: int) -> Array:
    """Return of ether over {window} bars [log return]"""
    return _of(grid, "ETH", grid.once(log_return, window))


@feature(windows=(168,), lookback=lambda window: window + 1, scope="panel", markets=(*_BTC, *_ETH))
def eth_btc_return(grid: Grid, window: int) -> Array:
    """Return of ether minus that of bitcoin over {window} bars, the appetite for other coins [log return]"""
    change = grid.once(log_return, window)
    return _of(grid, "ETH", change) - _of(grid, "BTC", change)


def _across(x: Array) -> Array:
    """Return the mean over the symbols present at each instant, in every row; NaN below two."""
    present = np.isfinite(x)
    count = present.sum(axis=0)
    mean = np.where(count >= 2, np.where(present, x, 0).sum(axis=0) / count, np.nan)
    return np.tile(mean, (x.shape[0], 1))


def _market(grid: Grid, window: int) -> Array:
    return _across(grid.once(log_return, window))


def _of(grid: Grid, coin: str, x: Array) -> Array:
    """Return the coin's row of `x` in every row; NaN where there is no such coin, or nothing else."""
    row = grid.market(coin)
    if row is None or len(grid.symbols) < 2:
        return np.full_like(x, np.nan)
    return np.tile(x[row], (x.shape[0], 1))


def _bitcoin(grid: Grid) -> Array:
    return _of(grid, "BTC", grid.log_return)


def _ether(grid: Grid) -> Array:
    return _of(grid, "ETH", grid.log_return)
