"""Oscillators: how stretched the price is inside its recent range.

Wilder's RSI (1978), Chande's momentum oscillator (1994), the stochastic (Lane) and the %R (Williams
1979), the stochastic of the RSI (Chande and Kroll 1994), the true strength index (Blau 1991), the
commodity channel index (Lambert 1980), the money flow index (Quong and Soudack 1989), the ultimate
oscillator (Williams 1985), bull and bear power (Elder 1993), the
relative vigor index (Ehlers 2002) and the detrended price. Scaled to [0, 1] or [-1, 1] instead of the
customary 0 to 100; 0.5 and 0 are neutral.
"""

import numpy as np

from features.grid import Grid, ema_window, ratio, wilder_window
from features.kernels import Array
from features.registry import feature

_SHARE = (0.0, 1.0)
_SIGNED_SHARE = (-1.0, 1.0)


@feature(windows=(7, 14, 42), lookback=lambda window: wilder_window(window) + 1, bounds=_SHARE)
def rsi(grid: Grid, window: int) -> Array:
    """Wilder's relative strength index over {window} bars, a hundredth of the usual scale [fraction]"""
    rise, fall = grid.once(_moves)
    up, down = grid.wilder(rise, window), grid.wilder(fall, window)
    return ratio(up, up + down)


@feature(windows=(12,), lookback=lambda window: window + 1, bounds=_SIGNED_SHARE)
def chande_momentum(grid: Grid, window: int) -> Array:
    """Rises minus falls of the close over {window} bars, over their sum [signed fraction]"""
    rise, fall = grid.once(_moves)
    up, down = grid.mean(rise, window), grid.mean(fall, window)
    return ratio(up - down, up + down)


@feature(windows=(14, 72, 168), lookback=lambda window: window, bounds=_SHARE)
def stochastic(grid: Grid, window: int) -> Array:
    """Place of the close between the lowest low and highest high of {window} bars [fraction]"""
    low, high = grid.lowest(grid.low, window)[0], grid.highest(grid.high, window)[0]
    return ratio(grid.close - low, high - low)


@feature(
    windows=((14, 3),), lookback=lambda window, smooth: window + smooth - 1, bounds=_SIGNED_SHARE
)
def stochastic_turn(grid: Grid, window: int, smooth: int) -> Array:
    """Stochastic of {window} bars minus its mean of {smooth} [signed fraction]"""
    place = grid.once(stochastic, window)
    return place - grid.mean(place, smooth)


@feature(windows=(28,), lookback=lambda window: window, bounds=(-1.0, 0.0))
def williams_r(grid: Grid, window: int) -> Array:
    """Close below the highest high of {window} bars, over their range, a hundredth of the usual scale [fraction]"""
    return grid.once(stochastic, window) - 1


@feature(windows=(14,), lookback=lambda window: wilder_window(window) + window, bounds=_SHARE)
def stochastic_rsi(grid: Grid, window: int) -> Array:
    """Place of the relative strength index between its extremes of {window} bars [fraction]"""
    strength = grid.once(rsi, window)
    low, high = grid.lowest(strength, window)[0], grid.highest(strength, window)[0]
    return ratio(strength - low, high - low)


@feature(
    windows=((25, 13),),
    lookback=lambda slow, fast: ema_window(slow) + ema_window(fast),
    bounds=_SIGNED_SHARE,
)
def true_strength(grid: Grid, slow: int, fast: int) -> Array:
    """Change of the close over its size, both smoothed over {slow} and {fast} bars [signed fraction]"""
    rise, fall = grid.once(_moves)
    signed = grid.ema(grid.ema(rise - fall, slow), fast)
    return ratio(signed, grid.ema(grid.ema(rise + fall, slow), fast))


@feature(windows=(20,), lookback=lambda window: window)
def cci(grid: Grid, window: int) -> Array:
    """Typical price from its mean of {window} bars, in 1.5 mean deviations [channel half-widths]"""
    deviation = grid.mean_deviation(grid.typical, window)
    return ratio(grid.typical - grid.mean(grid.typical, window), 1.5 * deviation)


@feature(windows=(14, 48), lookback=lambda window: window + 1, bounds=_SHARE)
def mfi(grid: Grid, window: int) -> Array:
    """Share of the turnover of {window} bars that traded at a rising typical price [fraction]"""
    rising, falling = grid.once(_money)
    up, down = grid.mean(rising, window), grid.mean(falling, window)
    return ratio(up, up + down)


@feature(windows=((7, 14, 28),), lookback=lambda *windows: max(windows) + 1, bounds=_SHARE)
def ultimate_oscillator(grid: Grid, short: int, middle: int, long: int) -> Array:
    """Buying pressure over true range at {short}, {middle} and {long} bars, weighted 4:2:1 [fraction]"""
    pressure = grid.close - np.minimum(grid.low, grid.lag(grid.close, 1))
    parts = [
        ratio(grid.mean(pressure, window), grid.mean(grid.true_range, window))
        for window in (short, middle, long)
    ]
    return np.asarray((4 * parts[0] + 2 * parts[1] + parts[2]) / 7)


@feature(windows=(20,), lookback=lambda window: window + window // 2 + 1)
def detrended_price(grid: Grid, window: int) -> Array:
    """Close half a window and a bar ago minus the mean of {window} closes to now, over that mean [fraction]"""
    mean = grid.mean(grid.close, window)
    return grid.lag(grid.close, window // 2 + 1) / mean - 1


@feature(windows=(13,), lookback=ema_window)
def bull_power(grid: Grid, span: int) -> Array:
    """High above the exponential mean of {span} closes, over the close [fraction]"""
    return (grid.high - grid.ema(grid.close, span)) / grid.close


@feature(windows=(13,), lookback=ema_window)
def bear_power(grid: Grid, span: int) -> Array:
    """Low above the exponential mean of {span} closes, over the close, mostly negative [fraction]"""
    return (grid.low - grid.ema(grid.close, span)) / grid.close


@feature(windows=(12,), lookback=lambda window: window + 3, bounds=_SIGNED_SHARE)
def relative_vigor(grid: Grid, window: int) -> Array:
    """Smoothed close minus open over high minus low, {window} bars [signed fraction]"""
    weights = np.array([1.0, 2.0, 2.0, 1.0]) / 6
    body = grid.weighted_sum(grid.close - grid.open, weights)
    span = grid.weighted_sum(grid.high - grid.low, weights)
    return ratio(grid.mean(body, window), grid.mean(span, window))


def _moves(grid: Grid) -> tuple[Array, Array]:
    change = grid.close - grid.lag(grid.close, 1)
    return np.maximum(change, 0), np.maximum(-change, 0)


def _money(grid: Grid) -> tuple[Array, Array]:
    change = grid.typical - grid.lag(grid.typical, 1)
    rising = np.where(np.isfinite(change), grid.turnover * (change > 0), np.nan)
    falling = np.where(np.isfinite(change), grid.turnover * (change < 0), np.nan)
    return rising, falling
