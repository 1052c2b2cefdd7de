"""Volatility: how much the price moves, whatever the direction.

Close-to-close deviation over many horizons, and range estimators that see inside the bar and are 5 to
14 times as efficient: Parkinson 1980, Garman and Klass 1980, Rogers and Satchell 1991 (right under
drift), Yang and Zhang 2000 (right under drift and gaps). Wilder's ATR (1978) sizes stops; the bands of
Bollinger (1983) and Keltner (1960) place the close, and one inside the other is a squeeze; Keltner's
width is the ATR's. The volatility of volatility and the ratio of short to long tell calm from storm;
exponential variance with a decay of 0.94 is RiskMetrics' (1996).

Bipower variation (Barndorff-Nielsen and Shephard 2004) and the median of three neighbours (Andersen,
Dobrev and Schaumburg 2012) tell jumps from diffusion; good and bad volatility (Barndorff-Nielsen, Kinnebrock
and Shephard 2010; Patton and Sheppard 2015) are the two halves of the squared returns. Bid-ask bounce
and other noise makes sums of squared returns too large: the two-scale estimator (Zhang, Mykland and
Ait-Sahalia 2005) and the realised kernel (Barndorff-Nielsen et al. 2008), here on hourly bars, take it
out. Volatilities are per bar, never annualised.
"""

import numpy as np

from features.grid import Grid, ema_window, ratio, wilder_window
from features.kernels import Array
from features.registry import feature

_NOT_NEGATIVE = (0.0, None)
_SHARE = (0.0, 1.0)
_CORRELATION = (-1.0, 1.0)


@feature(
    windows=(6, 24, 72, 168, 336, 720), lookback=lambda window: window + 1, bounds=_NOT_NEGATIVE
)
def realised_vol(grid: Grid, window: int) -> Array:
    """Standard deviation of the last {window} one-bar log returns [log return per bar]"""
    return grid.std(grid.log_return, window)


@feature(windows=(33,), lookback=lambda span: ema_window(span) + 1, bounds=_NOT_NEGATIVE)
def ewma_vol(grid: Grid, span: int) -> Array:
    """Root of the exponential mean of squared returns, span {span} bars [log return per bar]"""
    return np.sqrt(grid.ema(grid.squared_return, span))


@feature(windows=(24,), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def parkinson_vol(grid: Grid, window: int) -> Array:
    """Parkinson volatility of {window} bars, from highs and lows [log return per bar]"""
    variance: Array = grid.mean(grid.once(_span) ** 2, window) / (4 * np.log(2))
    return np.sqrt(variance)


@feature(windows=(24,), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def garman_klass_vol(grid: Grid, window: int) -> Array:
    """Garman-Klass volatility of {window} bars [log return per bar]"""
    variance = 0.5 * grid.once(_span) ** 2 - (2 * np.log(2) - 1) * grid.once(_body) ** 2
    return np.sqrt(np.maximum(grid.mean(variance, window), 0))


@feature(windows=(24,), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def rogers_satchell_vol(grid: Grid, window: int) -> Array:
    """Rogers-Satchell volatility of {window} bars, right under drift [log return per bar]"""
    return np.sqrt(np.maximum(grid.mean(grid.once(_rogers_satchell), window), 0))


@feature(windows=(72,), lookback=lambda window: window + 1, bounds=_NOT_NEGATIVE)
def yang_zhang_vol(grid: Grid, window: int) -> Array:
    """Yang-Zhang volatility of {window} bars, right under drift and gaps [log return per bar]"""
    gap = np.log(grid.open / grid.lag(grid.close, 1))
    k = 0.34 / (1.34 + (window + 1) / (window - 1))
    inside = grid.mean(grid.once(_rogers_satchell), window)
    within, across = grid.moments(grid.once(_body), window)[1], grid.moments(gap, window)[1]
    return np.sqrt(np.maximum(across + k * within + (1 - k) * inside, 0))


@feature(windows=((24,)), lookback=lambda window: window + 1)
def range_to_close_vol(grid: Grid, window: int) -> Array:
    """Log of Parkinson over close-to-close volatility of {window} bars, high where moves reverse [log ratio]"""
    return np.log(ratio(parkinson_vol(grid, window), grid.std(grid.log_return, window)))


@feature(windows=(14, 48), lookback=lambda window: wilder_window(window) + 1, bounds=_NOT_NEGATIVE)
def atr(grid: Grid, window: int) -> Array:
    """Wilder's average true range over {window} bars, over the close [fraction of close]"""
    return grid.wilder(grid.true_range, window) / grid.close


@feature(windows=(24,), lookback=lambda window: window, bounds=_NOT_NEGATIVE)
def bollinger_width(grid: Grid, window: int) -> Array:
    """Width of the two-deviation bands of {window} closes, over their mean [fraction]"""
    mean, variance = grid.moments(grid.close, window)
    return 4 * np.sqrt(variance) / mean


@feature(windows=(24, 72, 168), lookback=lambda window: window)
def bollinger_position(grid: Grid, window: int) -> Array:
    """Close from the mean of {window} closes, 1 at the upper two-deviation band [band half-widths]"""
    return grid.zscore(grid.close, window) / 2


@feature(
    windows=((20, 10),),
    lookback=lambda span, window: max(ema_window(span), wilder_window(window) + 1),
)
def keltner_position(grid: Grid, span: int, window: int) -> Array:
    """Close from its exponential mean of {span} bars in two true ranges of {window} bars [band half-widths]"""
    return (grid.close - grid.ema(grid.close, span)) / (2 * grid.wilder(grid.true_range, window))


@feature(windows=(24,), lookback=lambda window: wilder_window(window) + 1)
def squeeze(grid: Grid, window: int) -> Array:
    """Log of the width of Bollinger's over that of Keltner's bands, {window} bars, low before a break [log ratio]"""
    return np.log(ratio(grid.std(grid.close, window), grid.wilder(grid.true_range, window)))


@feature(windows=((24, 168),), lookback=lambda short, long: short + long, bounds=_NOT_NEGATIVE)
def vol_of_vol(grid: Grid, short: int, long: int) -> Array:
    """Deviation over mean of {long} values of the {short}-bar volatility [fraction]"""
    mean, variance = grid.moments(grid.once(realised_vol, short), long)
    return ratio(np.sqrt(variance), mean)


@feature(windows=((6, 24), (24, 168), (72, 720)), lookback=lambda *windows: max(windows) + 1)
def vol_ratio(grid: Grid, short: int, long: int) -> Array:
    """Log of the {short}-bar over the {long}-bar volatility [log ratio]"""
    return np.log(ratio(grid.std(grid.log_return, short), grid.std(grid.log_return, long)))


@feature(windows=((24, 504),), lookback=lambda short, long: short + long)
def vol_z(grid: Grid, short: int, long: int) -> Array:
    """Log of the {short}-bar volatility against its last {long} values [standard deviations]"""
    vol = grid.once(realised_vol, short)
    return grid.zscore(np.log(np.where(vol > 0, vol, np.nan)), long)


@feature(windows=(24, 168), lookback=lambda window: window + 1, bounds=_SHARE)
def downside_share(grid: Grid, window: int) -> Array:
    """Share of the squared returns of {window} bars that comes from falling bars [fraction]"""
    return ratio(grid.mean(grid.once(_falling), window), grid.mean(grid.squared_return, window))


@feature(windows=(72,), lookback=lambda window: window + 1, bounds=_NOT_NEGATIVE)
def good_vol(grid: Grid, window: int) -> Array:
    """Root of the mean squared return of rising bars, over all {window} bars [log return per bar]"""
    rising = grid.squared_return - grid.once(_falling)
    return np.sqrt(grid.mean(rising, window))


@feature(windows=(72,), lookback=lambda window: window + 1, bounds=_NOT_NEGATIVE)
def bad_vol(grid: Grid, window: int) -> Array:
    """Root of the mean squared return of falling bars, over all {window} bars [log return per bar]"""
    return np.sqrt(grid.mean(grid.once(_falling), window))


@feature(windows=(24, 72), lookback=lambda window: window + 2, bounds=_SHARE)
def jump_share(grid: Grid, window: int) -> Array:
    """Share of the variance of {window} bars that came in jumps, by bipower variation [fraction]"""
    smooth = np.pi / 2 * grid.mean(grid.once(_bipower), window)
    return np.maximum(1 - ratio(smooth, grid.mean(grid.squared_return, window)), 0)


@feature(windows=(72,), lookback=lambda window: window + 2, bounds=_CORRELATION)
def signed_jump(grid: Grid, window: int) -> Array:
    """Rising minus falling squared returns beyond the bipower variation of {window} bars, over all [signed fraction]"""
    smooth = np.pi / 4 * grid.mean(grid.once(_bipower), window)
    bad = grid.mean(grid.once(_falling), window)
    whole = grid.mean(grid.squared_return, window)
    up, down = np.maximum(whole - bad - smooth, 0), np.maximum(bad - smooth, 0)
    return ratio(up - down, whole)


@feature(windows=(72,), lookback=lambda window: window + 3, bounds=_NOT_NEGATIVE)
def median_vol(grid: Grid, window: int) -> Array:
    """Volatility of {window} bars from the median of three neighbouring returns, blind to jumps [log return per bar]"""
    now = np.abs(grid.log_return)
    before, earlier = grid.lag(now, 1), grid.lag(now, 2)
    median = np.maximum(np.minimum(now, before), np.minimum(np.maximum(now, before), earlier))
    scale = np.pi / (6 - 4 * np.sqrt(3) + np.pi)
    vol: Array = np.sqrt(scale * grid.mean(median**2, window))
    return vol


@feature(windows=((5, 72),), lookback=lambda scale, window: window + scale, bounds=_NOT_NEGATIVE)
def two_scale_vol(grid: Grid, scale: int, window: int) -> Array:
    """Noise-robust volatility of {window} bars from overlapping {scale}-bar and one-bar returns [log return per bar]"""
    slow = (grid.log_close - grid.lag(grid.log_close, scale)) ** 2 / scale
    fast = grid.mean(grid.squared_return, window)
    variance = (grid.mean(slow, window) - fast / scale) / (1 - 1 / scale)
    return np.sqrt(np.maximum(variance, 0))


@feature(windows=((6, 168),), lookback=lambda lags, window: window + lags + 1, bounds=_NOT_NEGATIVE)
def kernel_vol(grid: Grid, lags: int, window: int) -> Array:
    """Realised kernel volatility of {window} bars with Parzen weights on {lags} autocovariances [log return per bar]"""
    r = grid.log_return
    variance = grid.mean(grid.squared_return, window)
    for lag in range(1, lags + 1):
        x = lag / (lags + 1)
        weight = 1 - 6 * x**2 + 6 * x**3 if x <= 0.5 else 2 * (1 - x) ** 3
        variance = variance + 2 * weight * grid.mean(r * grid.lag(r, lag), window)
    return np.sqrt(np.maximum(variance, 0))


@feature(windows=((6, 168),), lookback=lambda lags, window: window + lags + 1)
def noise_share(grid: Grid, lags: int, window: int) -> Array:
    """Log of the close-to-close over the realised kernel volatility of {window} bars ({lags} lags) [log ratio]"""
    robust = grid.once(kernel_vol, lags, window)
    return np.log(ratio(np.sqrt(grid.mean(grid.squared_return, window)), robust))


@feature(windows=(72,), lookback=lambda window: 2 * window - 1, bounds=_NOT_NEGATIVE)
def ulcer(grid: Grid, window: int) -> Array:
    """Root mean square of the falls below the highest close of {window} bars, over {window} bars [fraction]"""
    fall = 1 - grid.close / grid.highest(grid.close, window)[0]
    return np.sqrt(grid.mean(fall**2, window))


@feature(windows=(168,), lookback=lambda window: window + 2, bounds=_CORRELATION)
def leverage_effect(grid: Grid, window: int) -> Array:
    """Correlation of a bar's return with the size of the next, over {window} bars [correlation]"""
    return grid.correlation(grid.lag(grid.log_return, 1), np.abs(grid.log_return), window)


def _falling(grid: Grid) -> Array:
    return np.where(grid.log_return < 0, grid.squared_return, grid.squared_return * 0)


def _bipower(grid: Grid) -> Array:
    size = np.abs(grid.log_return)
    return size * grid.lag(size, 1)


def _span(grid: Grid) -> Array:
    return np.log(grid.high / grid.low)


def _body(grid: Grid) -> Array:
    return np.log(grid.close / grid.open)


def _rogers_satchell(grid: Grid) -> Array:
    high, low = np.log(grid.high / grid.open), np.log(grid.low / grid.open)
    products: Array = high * (high - grid.once(_body)) + low * (low - grid.once(_body))
    return products
