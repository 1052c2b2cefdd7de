"""Higher timeframes: the same market in bars four and twenty-four times as long, as far as they are closed.

Traders look at several timeframes at once, and trends of days show in daily closes when hours are
noise (multi-horizon momentum: Baz et al. 2015; the heterogeneous horizons of Mueller et al. 1997 and
Corsi 2009). Long bars lie on UTC: with hourly bars, those of four end at 00:00, 04:00, ..., those of
twenty-four at 00:00. A value is that of the newest long bar that was closed at the instant; the bar
still forming is never looked at, which is the usual leak of such columns. A long bar needs its last
short bar and 95 % of all.

The first number of a name is the length of a long bar in bars, the others are windows in long bars.
"""

from collections.abc import Callable

import numpy as np

from features import momentum, oscillators, trend, volatility, volume
from features.grid import Grid, ema_window, ratio, required_bars, wilder_window
from features.kernels import Array
from features.registry import feature

_SHARE = (0.0, 1.0)
_SIGNED_SHARE = (-1.0, 1.0)
_NOT_NEGATIVE = (0.0, None)


class LongBars(Grid):
    """The closed bars of `length` bars each, as a grid of their own.

    Parameters
    ----------
    grid : Grid
        The short bars.
    length : int
        Short bars in a long one.
    """

    def __init__(self, grid: Grid, length: int) -> None:
        # A long bar numbered b ends with the short bar numbered b * length.
        first = -(-(grid.start - 1) // length) + 1
        held = max((grid.start + grid.length - 1) // length - first + 1, 0)
        super().__init__(
            grid.bars,
            grid.symbols,
            np.zeros(held, np.int64),
            np.arange(held) + first,
            grid.timeframe,
        )
        self.start, self.length = first, held
        self.short, self.ratio = grid, length

    def column(self, name: str) -> Array:
        """Return the column `name` of the long bars."""
        whole: Array = getattr(self.short, name)
        begin = (self.start - 1) * self.ratio + 1 - self.short.start
        parts = whole[:, begin : begin + self.length * self.ratio]
        parts = parts.reshape(len(self.symbols), self.length, self.ratio)
        present = np.isfinite(parts)
        count = present.sum(axis=2)
        if name in ("open", "close"):
            value = parts[:, :, 0 if name == "open" else -1]
        elif name in ("high", "low"):
            value = _folded(parts, np.fmax if name == "high" else np.fmin)
        else:
            total = _folded(np.where(present, parts, 0.0), np.add)
            value = total * (self.ratio / np.maximum(count, 1))
        return np.where(count >= required_bars(self.ratio), value, np.nan)

    def seen(self, x: Array) -> Array:
        """Return, at each short bar, `x` of the newest long bar that was closed."""
        place = self.short.numbers // self.ratio - self.start
        padded = np.concatenate([np.full((len(self.symbols), 1), np.nan), x], axis=1)
        return padded[:, np.maximum(place, -1) + 1]


def _folded(parts: Array, fold: Callable[[Array, Array], Array]) -> Array:
    # One by one: the order of a sum may not depend on how many there are.
    value = parts[:, :, 0]
    for i in range(1, parts.shape[2]):
        value = fold(value, parts[:, :, i])
    return value


def _bars(windows: int, length: int) -> int:
    """Return the short bars in which `windows` long bars are closed, whatever the instant."""
    return windows * length + length - 1


def _long(grid: Grid, length: int) -> LongBars:
    return LongBars(grid, length)


def _seen(grid: Grid, length: int, function: Callable[..., Array], *windows: int) -> Array:
    bars = grid.once(_long, length)
    return bars.seen(bars.once(function, *windows))


@feature(
    windows=((4, 1), (24, 1), (24, 3), (24, 7)),
    lookback=lambda length, window: _bars(window + 1, length),
)
def long_return(grid: Grid, length: int, window: int) -> Array:
    """Log return of the last {window} closed bars of {length} bars each [log return]"""
    return _seen(grid, length, momentum.log_return, window)


@feature(windows=((4,), (24,)), lookback=lambda length: _bars(1, length))
def since_long_close(grid: Grid, length: int) -> Array:
    """Log return since the last close of a bar of {length} bars, zero at it [log return]"""
    return grid.log_close - _seen(grid, length, _log_close)


@feature(windows=((4,), (24,)), lookback=lambda length: _bars(1, length))
def place_in_long_range(grid: Grid, length: int) -> Array:
    """Close from the middle of the last closed bar of {length} bars, one at its high [range halves]"""
    high, low = _seen(grid, length, _high), _seen(grid, length, _low)
    return ratio(2 * grid.close - high - low, high - low)


@feature(windows=((24,),), lookback=lambda length: _bars(1, length), bounds=_SIGNED_SHARE)
def long_body(grid: Grid, length: int) -> Array:
    """Close minus open of the last closed bar of {length} bars, over its range [signed fraction]"""
    return np.clip(_seen(grid, length, _body), -1, 1)


@feature(
    windows=((4, 12), (24, 5)),
    lookback=lambda length, span: _bars(ema_window(span), length),
)
def long_ema_distance(grid: Grid, length: int, span: int) -> Array:
    """Close of the last closed bar of {length} bars minus its exponential mean of {span}, over it [fraction]"""
    return _seen(grid, length, trend.ema_distance, span)


@feature(
    windows=((4, 12, 26, 9),),
    lookback=lambda length, _, slow, signal: _bars(
        ema_window(slow) + ema_window(signal) - 1, length
    ),
)
def long_macd(grid: Grid, length: int, fast: int, slow: int, signal: int) -> Array:
    """MACD histogram ({fast}, {slow}, {signal}) of closed bars of {length} bars, over the close [fraction]"""
    return _seen(grid, length, trend.macd_histogram, fast, slow, signal)


@feature(
    windows=((4, 14),),
    lookback=lambda length, window: _bars(wilder_window(window) + 1, length),
    bounds=_SHARE,
)
def long_rsi(grid: Grid, length: int, window: int) -> Array:
    """Relative strength index of {window} closed bars of {length} bars [fraction]"""
    return _seen(grid, length, oscillators.rsi, window)


@feature(
    windows=((4, 8),),
    lookback=lambda length, window: _bars(2 * wilder_window(window), length),
    bounds=_SHARE,
)
def long_adx(grid: Grid, length: int, window: int) -> Array:
    """Average directional index of {window} closed bars of {length} bars [fraction]"""
    return _seen(grid, length, trend.adx, window)


@feature(
    windows=((24, 14),),
    lookback=lambda length, window: _bars(window + 1, length),
    bounds=_SIGNED_SHARE,
)
def long_chande_momentum(grid: Grid, length: int, window: int) -> Array:
    """Rises minus falls of {window} closed bars of {length} bars, over their sum [signed fraction]"""
    return _seen(grid, length, oscillators.chande_momentum, window)


@feature(windows=((24, 14),), lookback=lambda length, window: _bars(window, length), bounds=_SHARE)
def long_stochastic(grid: Grid, length: int, window: int) -> Array:
    """Place of the last close in the range of {window} closed bars of {length} bars [fraction]"""
    return _seen(grid, length, oscillators.stochastic, window)


@feature(windows=((4, 20), (24, 20)), lookback=lambda length, window: _bars(window, length))
def long_bollinger_position(grid: Grid, length: int, window: int) -> Array:
    """Last close from the mean of {window} closed bars of {length} bars, 1 at the two-deviation band [band half-widths]"""
    return _seen(grid, length, volatility.bollinger_position, window)


@feature(
    windows=((24, 14),),
    lookback=lambda length, window: _bars(window + 1, length),
    bounds=_NOT_NEGATIVE,
)
def long_vol(grid: Grid, length: int, window: int) -> Array:
    """Standard deviation of the returns of {window} closed bars of {length} bars [log return per long bar]"""
    return _seen(grid, length, volatility.realised_vol, window)


@feature(
    windows=((24, 14),),
    lookback=lambda length, window: _bars(window + 1, length),
)
def long_range_to_close_vol(grid: Grid, length: int, window: int) -> Array:
    """Log of Parkinson over close-to-close volatility of {window} closed bars of {length} bars [log ratio]"""
    return _seen(grid, length, volatility.range_to_close_vol, window)


@feature(windows=((24, 14),), lookback=lambda length, window: _bars(window, length), bounds=_SHARE)
def long_trend_fit(grid: Grid, length: int, window: int) -> Array:
    """Share of the variance of {window} closes of bars of {length} bars that lies on their line [fraction]"""
    return _seen(grid, length, trend.trend_fit, window)


@feature(windows=((4, 42), (24, 14)), lookback=lambda length, window: _bars(window, length))
def long_volume_z(grid: Grid, length: int, window: int) -> Array:
    """Log turnover of the last closed bar of {length} bars against the last {window} [standard deviations]"""
    return _seen(grid, length, volume.volume_z, window)


def _log_close(grid: Grid) -> Array:
    return grid.log_close


def _high(grid: Grid) -> Array:
    return grid.high


def _low(grid: Grid) -> Array:
    return grid.low


def _body(grid: Grid) -> Array:
    return ratio(grid.close - grid.open, grid.high - grid.low)
