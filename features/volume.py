"""Volume: how much is traded, against its own past and against the move it made.

Turnover (volume at the bar's typical price) as a z-score of its logarithm, its short against its long
mean, against the same hour of the days before, and how unevenly it came. On-balance volume (Granville
1963) as a share of all volume, Chaikin's money flow, Elder's force (1993), the distance from the
volume-weighted price, and the share of the volume that was traded below the close (Steidlmayer's
market profile 1984): who bought lately is in the money by it.

The price of trading, from bars alone: illiquidity after Amihud (2002), price move per unit traded, but as
a ratio of two means where his is the mean of ratios, which a few bars of little turnover rule; Kyle's
lambda (1985: price move per signed root of turnover; Hasbrouck 2009), the spreads of Roll (1984), Corwin
and Schultz (2012) and Abdi and Ranaldo (2017). Bulk classification splits volume into buying and
selling by how far the price went (Easley, Lopez de Prado and O'Hara 2012), and the mean size of the
imbalance is the probability of informed trading they call VPIN. Volume comes with movement (Karpoff
1987).
"""

import numpy as np

from features.grid import Grid, ema_window, ratio
from features.kernels import Array, window_share_below
from features.registry import feature

_SIGNED_SHARE = (-1.0, 1.0)
_SHARE = (0.0, 1.0)
_NOT_NEGATIVE = (0.0, None)
_DAY = 24


@feature(windows=(24, 168), lookback=lambda window: window)
def volume_z(grid: Grid, window: int) -> Array:
    """Log turnover of the bar against the last {window} [standard deviations]"""
    return grid.zscore(grid.log_turnover, window)


@feature(windows=((6, 48), (24, 168)), lookback=lambda *windows: max(windows))
def volume_trend(grid: Grid, short: int, long: int) -> Array:
    """Log of the mean turnover of {short} bars over that of {long} [log ratio]"""
    return np.log(ratio(grid.mean(grid.turnover, short), grid.mean(grid.turnover, long)))


@feature(windows=(7,), lookback=lambda days: days * _DAY + 1)
def volume_of_hour(grid: Grid, days: int) -> Array:
    """Log turnover of the bar minus its mean 24, 48, ... bars before, {days} of them [log ratio]"""
    logs = grid.log_turnover
    before = sum(grid.lag(logs, _DAY * day) for day in range(1, days + 1))
    return grid.complete(np.asarray(logs - before / days), days * _DAY + 1)


@feature(windows=(168,), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def volume_unrest(grid: Grid, window: int) -> Array:
    """Standard deviation of log turnover over {window} bars [log quote]"""
    return grid.std(grid.log_turnover, window)


@feature(windows=(72,), lookback=lambda window: window, bounds=_SHARE)
def volume_concentration(grid: Grid, window: int) -> Array:
    """Sum of the squared shares of {window} bars in their turnover, one if all was traded in one [fraction]"""
    mean = grid.mean(grid.turnover, window)
    return ratio(grid.mean(grid.turnover**2, window), mean**2 * window)


@feature(windows=((1, 72),), lookback=lambda lag, window: window + lag, bounds=_SIGNED_SHARE)
def volume_autocorrelation(grid: Grid, lag: int, window: int) -> Array:
    """Correlation of log turnover with that {lag} bars before, over {window} bars [correlation]"""
    logs = grid.log_turnover
    return grid.correlation(logs, grid.lag(logs, lag), window)


@feature(windows=(24, 168), lookback=lambda window: window + 1, bounds=_SIGNED_SHARE)
def obv_slope(grid: Grid, window: int) -> Array:
    """Change of on-balance volume over {window} bars, over their volume [signed fraction]"""
    signed = np.sign(grid.log_return) * grid.volume
    volume = np.where(np.isfinite(signed), grid.volume, np.nan)
    return ratio(grid.mean(signed, window), grid.mean(volume, window))


@feature(windows=(24,), lookback=lambda window: window, bounds=_SIGNED_SHARE)
def money_flow(grid: Grid, window: int) -> Array:
    """Volume of {window} bars weighted by where they closed in their range (Chaikin) [signed fraction]"""
    span = grid.high - grid.low
    place = np.where(span == 0, 0.0, (2 * grid.close - grid.high - grid.low) / span)
    return ratio(grid.mean(place * grid.volume, window), grid.mean(grid.volume, window))


@feature(windows=(13,), lookback=lambda span: ema_window(span) + 1)
def force(grid: Grid, span: int) -> Array:
    """Exponential mean of return times turnover over that of turnover, {span} bars [log return]"""
    pushed = grid.log_return * grid.turnover
    turnover = np.where(np.isfinite(pushed), grid.turnover, np.nan)
    return ratio(grid.ema(pushed, span), grid.ema(turnover, span))


@feature(windows=(24, 168), lookback=lambda window: window)
def vwap_distance(grid: Grid, window: int) -> Array:
    """Log distance of the close from the volume-weighted price of {window} bars [log return]"""
    vwap = ratio(grid.mean(grid.turnover, window), grid.mean(grid.volume, window))
    return np.log(grid.close / vwap)


@feature(windows=(72,), lookback=lambda window: window, bounds=_SHARE)
def volume_below(grid: Grid, window: int) -> Array:
    """Share of the volume of {window} bars that was traded at a typical price below the close [fraction]"""
    share = window_share_below(grid.typical, grid.close, grid.volume, window)
    return grid.complete(share, window)


@feature(windows=(168,), lookback=lambda window: window + 1)
def amihud(grid: Grid, window: int) -> Array:
    """Log of the mean absolute return over the mean turnover of {window} bars [log return per quote, log]"""
    size = np.abs(grid.log_return)
    turnover = np.where(np.isfinite(size), grid.turnover, np.nan)
    return np.log(ratio(grid.mean(size, window), grid.mean(turnover, window)))


@feature(windows=((24, 168),), lookback=lambda *windows: max(windows) + 1)
def amihud_ratio(grid: Grid, short: int, long: int) -> Array:
    """Illiquidity of {short} bars against that of {long} [log ratio]"""
    return amihud(grid, short) - amihud(grid, long)


@feature(windows=(72, 168), lookback=lambda window: window + 1)
def kyle_lambda(grid: Grid, window: int) -> Array:
    """Slope of the return on the signed root of turnover over {window} bars, per mean root [standard deviations]"""
    root = np.sqrt(grid.turnover)
    signed = np.sign(grid.log_return) * root
    cov, own, variance = grid.covariance(grid.log_return, signed, window)
    return ratio(cov * grid.mean(root, window), variance * np.sqrt(own))


@feature(windows=(168,), lookback=lambda window: window + 2)
def roll_spread(grid: Grid, window: int) -> Array:
    """Roll's spread over {window} bars; negative where returns follow each other, so that it is no spread [signed log return]"""
    cov = grid.covariance(grid.log_return, grid.lag(grid.log_return, 1), window)[0]
    return -2 * np.sign(cov) * np.sqrt(np.abs(cov))


@feature(windows=(24,), lookback=lambda window: window + 1, bounds=_NOT_NEGATIVE)
def corwin_schultz_spread(grid: Grid, window: int) -> Array:
    """Corwin and Schultz's spread from highs and lows of two bars, mean of {window} pairs [fraction]"""
    return grid.mean(grid.once(_pair_spread), window)


@feature(windows=(168,), lookback=lambda window: window + 1)
def close_high_low_spread(grid: Grid, window: int) -> Array:
    """Abdi and Ranaldo's spread over {window} pairs of bars; negative where it is no spread [signed log return]"""
    middle = (np.log(grid.high) + np.log(grid.low)) / 2
    before = grid.lag(grid.log_close - middle, 1)
    product = grid.mean(before * (grid.lag(grid.log_close, 1) - middle), window)
    return 2 * np.sign(product) * np.sqrt(np.abs(product))


@feature(windows=(24,), lookback=lambda window: 2 * window, bounds=_SIGNED_SHARE)
def bulk_imbalance(grid: Grid, window: int) -> Array:
    """Buying minus selling of {window} bars by bulk classification, over their volume [signed fraction]"""
    bulk = grid.once(_bulk, window)
    volume = np.where(np.isfinite(bulk), grid.volume, np.nan)
    return ratio(grid.mean(bulk, window), grid.mean(volume, window))


@feature(windows=(48,), lookback=lambda window: 2 * window, bounds=_SHARE)
def vpin(grid: Grid, window: int) -> Array:
    """Mean size of the imbalance by bulk classification over the volume of {window} bars [fraction]"""
    bulk = np.abs(grid.once(_bulk, window))
    volume = np.where(np.isfinite(bulk), grid.volume, np.nan)
    return ratio(grid.mean(bulk, window), grid.mean(volume, window))


@feature(windows=(72,), lookback=lambda window: window + 1, bounds=_SIGNED_SHARE)
def volume_move_correlation(grid: Grid, window: int) -> Array:
    """Correlation of log turnover with the size of the return over {window} bars [correlation]"""
    return grid.correlation(grid.log_turnover, np.abs(grid.log_return), window)


@feature(windows=(72,), lookback=lambda window: window + 1, bounds=_SIGNED_SHARE)
def volume_return_correlation(grid: Grid, window: int) -> Array:
    """Correlation of log turnover with the return over {window} bars [correlation]"""
    return grid.correlation(grid.log_turnover, grid.log_return, window)


def _bulk(grid: Grid, window: int) -> Array:
    """Return the volume times the share bought minus sold, by how unusual the return is."""
    z = ratio(grid.log_return, grid.std(grid.log_return, window))
    # The logistic distribution of the same variance: within 0.023 of the normal one, and quick.
    bought: Array = np.tanh(z * (np.pi / (2 * np.sqrt(3)))) * grid.volume
    return bought


def _pair_spread(grid: Grid) -> Array:
    high, low = grid.high, grid.low
    # A gap between the bars is no range: the pair's range is moved by it (Corwin and Schultz, 3.2).
    gap = np.maximum(grid.lag(grid.close, 1) - high, 0) + np.minimum(
        grid.lag(grid.close, 1) - low, 0
    )
    high, low = high + gap, low + gap
    high_before, low_before = grid.lag(grid.high, 1), grid.lag(grid.low, 1)
    beta = np.log(high / low) ** 2 + np.log(high_before / low_before) ** 2
    gamma = np.log(np.maximum(high, high_before) / np.minimum(low, low_before)) ** 2
    k = 3 - 2 * np.sqrt(2)
    alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / k - np.sqrt(gamma / k)
    spread: Array = np.maximum(2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha)), 0)
    return spread
