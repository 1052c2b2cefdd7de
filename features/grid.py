"""Bars of one venue on a regular grid of time, and the windows a feature may ask of them.

Missing bars are NaN, so a window counts time and not rows. Nothing is ever filled.

The gap policy, everywhere: a window is valid only if at least 95 % of its bars are present; else
the feature is null. A one-bar return across a missing bar is itself missing.
"""

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from features import kernels
from features.kernels import Array

COVERAGE = 0.95
# An exponential mean is cut where the weight of all older bars together is e^-10 = 4.5e-5.
SPANS_KEPT = 5
WILDER_KEPT = 10

_MICROSECOND = timedelta(microseconds=1)
_Value = TypeVar("_Value")


def required_bars(window: int) -> int:
    """Return how many of `window` bars must be present for the window to be valid."""
    return math.ceil(COVERAGE * window - 1e-9)


def ema_window(span: int) -> int:
    """Return the bars an exponential mean of `span` looks at, the newest included."""
    return SPANS_KEPT * span


def wilder_window(window: int) -> int:
    """Return the bars Wilder's smoothing over `window` looks at, the newest included."""
    return WILDER_KEPT * window


def ratio(numerator: Array, denominator: Array) -> Array:
    """Return `numerator / denominator`, NaN where the denominator is zero."""
    return cast(Array, np.where(denominator != 0, numerator / denominator, np.nan))


class series:  # noqa: N801
    """A property of a grid that is computed once and stays with it."""

    def __init__(self, function: Callable[["Grid"], Array]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, grid: "Grid", owner: object = None) -> Array:
        return grid.once(self.function)


class Grid:
    """Columns of bars as float64 arrays `[symbols, bars]`, NaN where a bar is missing.

    Parameters
    ----------
    bars : polars.DataFrame
        Bars of one venue, at most one per (symbol, instant).
    symbols : sequence of str
        Row labels.
    codes, numbers : int64 arrays
        Row and bar number (known_at / timeframe since 1970) of every row of `bars`.
    timeframe : timedelta
        Length of one bar.

    Notes
    -----
    Windows are methods, so a feature reads as its formula: `grid.std(grid.log_return, 72)`. A window
    over a series that stays on the grid (a property, or what `once` returns) is computed once however
    many features ask for it; nobody may write into what a grid returns.
    """

    def __init__(
        self,
        bars: pl.DataFrame,
        symbols: Sequence[str],
        codes: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
        timeframe: timedelta,
    ) -> None:
        self.symbols = tuple(symbols)
        self.timeframe = timeframe
        self.start = int(numbers.min()) if numbers.size else 0
        self.length = int(numbers.max()) - self.start + 1 if numbers.size else 0
        self.position = codes * self.length + (numbers - self.start)
        self.bars = bars
        self._made: dict[tuple[Any, ...], Any] = {}
        self._staying: set[int] = set()

    def once(self, function: Callable[..., _Value], *arguments: int) -> _Value:
        """Return `function(grid, *arguments)`, computed at the first call and kept with the grid."""
        key = (function, *arguments)
        if key not in self._made:
            self._keep(key, function(self, *arguments))
        return cast(_Value, self._made[key])

    def _window(self, kernel: Callable[..., _Value], *arguments: Any) -> _Value:
        arrays = [id(one) for one in arguments if isinstance(one, np.ndarray)]
        if not self._staying.issuperset(arrays):
            return kernel(*arguments)
        key = (kernel, *arrays, *(one for one in arguments if not isinstance(one, np.ndarray)))
        if key not in self._made:
            self._keep(key, kernel(*arguments))
        return cast(_Value, self._made[key])

    def _keep(self, key: tuple[Any, ...], value: Any) -> None:
        # An array may be known by its id as long as the grid keeps it alive.
        self._made[key] = value
        self._staying.update(map(id, value if isinstance(value, tuple) else (value,)))

    @property
    def columns(self) -> frozenset[str]:
        """Names an expression may use."""
        return frozenset(self.bars.columns) | {"open_time"}

    def column(self, name: str) -> Array:
        """Return the column `name` of the bars on the grid."""
        grid = np.full((len(self.symbols), self.length), np.nan)
        values = self.bars.get_column(name).cast(pl.Float64).to_numpy()
        grid.reshape(-1)[self.position] = values
        return grid

    @series
    def open(self) -> Array:
        """Open [quote]."""
        return self.column("open")

    @series
    def high(self) -> Array:
        """High [quote]."""
        return self.column("high")

    @series
    def low(self) -> Array:
        """Low [quote]."""
        return self.column("low")

    @series
    def close(self) -> Array:
        """Close [quote]."""
        return self.column("close")

    @series
    def volume(self) -> Array:
        """Volume [base]."""
        return self.column("volume")

    @series
    def trades(self) -> Array:
        """Number of trades [count]; NaN where the venue does not say."""
        return self.column("trades")

    @series
    def taker_buy_volume(self) -> Array:
        """Volume bought by takers [base]; NaN where the venue does not say."""
        return self.column("taker_buy_volume")

    @series
    def log_close(self) -> Array:
        """Natural logarithm of the close [log quote]."""
        return np.log(self.close)

    @series
    def log_return(self) -> Array:
        """One-bar log return, close to close [log return]."""
        return self.log_close - self.lag(self.log_close, 1)

    @series
    def squared_return(self) -> Array:
        """Square of the one-bar log return [squared log return]."""
        squares: Array = self.log_return**2
        return squares

    @series
    def typical(self) -> Array:
        """Mean of high, low and close [quote]."""
        return (self.high + self.low + self.close) / 3

    @series
    def turnover(self) -> Array:
        """Volume at the typical price [quote], also where the venue has no quote volume."""
        return self.volume * self.typical

    @series
    def log_turnover(self) -> Array:
        """Natural logarithm of one and the turnover [log quote]."""
        return np.log1p(self.turnover)

    @series
    def true_range(self) -> Array:
        """Range of the bar and the gap from the previous close, whichever is larger [quote]."""
        before = self.lag(self.close, 1)
        return np.maximum(self.high, before) - np.minimum(self.low, before)

    @cached_property
    def numbers(self) -> npt.NDArray[np.int64]:
        """Number of each bar since 1970 (known_at / timeframe), `[bars]`."""
        return np.arange(self.start, self.start + self.length)

    @series
    def time(self) -> Array:
        """Number of each bar, a row a symbol [bars]."""
        return np.tile(self.numbers.astype(np.float64), (len(self.symbols), 1))

    def market(self, base: str) -> int | None:
        """Return the row of the venue's market of `base`, the first by name; None without one."""
        rows = [i for i, symbol in enumerate(self.symbols) if symbol.startswith(f"{base}/")]
        return min(rows, key=lambda i: self.symbols[i]) if rows else None

    def lag(self, x: Array, bars: int) -> Array:
        """Return `x` as it was `bars` bars before."""
        past = np.full_like(x, np.nan)
        past[:, bars:] = x[:, : max(x.shape[1] - bars, 0)]
        return past

    def complete(self, x: Array, window: int) -> Array:
        """Return `x` where the trailing `window` closes satisfy the gap policy, else NaN."""
        valid = np.isfinite(self.mean(self.close, window))
        return cast(Array, np.where(valid, x, np.nan))

    def mean(self, x: Array, window: int) -> Array:
        """Return the trailing mean."""
        return self._window(kernels.window_mean, x, self.start, window, required_bars(window))

    def moments(self, x: Array, window: int) -> tuple[Array, Array]:
        """Return the trailing mean and sample variance."""
        return self._window(kernels.window_moments, x, self.start, window, required_bars(window))

    def std(self, x: Array, window: int) -> Array:
        """Return the trailing sample standard deviation."""
        return cast(Array, np.sqrt(self.moments(x, window)[1]))

    def zscore(self, x: Array, window: int) -> Array:
        """Return the distance of `x` from its trailing mean in trailing standard deviations."""
        mean, variance = self.moments(x, window)
        return ratio(x - mean, np.sqrt(variance))

    def shape(self, x: Array, window: int) -> tuple[Array, Array]:
        """Return the trailing skewness and excess kurtosis."""
        return self._window(kernels.window_shape, x, self.start, window, required_bars(window))

    def covariance(self, x: Array, y: Array, window: int) -> tuple[Array, Array, Array]:
        """Return the trailing cov(x, y), var(x), var(y) over bars where both are present."""
        return self._window(
            kernels.window_covariance, x, y, self.start, window, required_bars(window)
        )

    def correlation(self, x: Array, y: Array, window: int) -> Array:
        """Return the trailing correlation, clipped to [-1, 1] against rounding."""
        cov, var_x, var_y = self.covariance(x, y, window)
        return np.clip(ratio(cov, np.sqrt(var_x * var_y)), -1, 1)

    def highest(self, x: Array, window: int) -> tuple[Array, Array]:
        """Return the trailing maximum and how many bars ago it last occurred."""
        return self._window(kernels.window_max, x, self.start, window, required_bars(window))

    def lowest(self, x: Array, window: int) -> tuple[Array, Array]:
        """Return the trailing minimum and how many bars ago it last occurred."""
        highest, age = self.highest(self._window(np.negative, x), window)
        return -highest, age

    def slope(self, x: Array, window: int) -> Array:
        """Return the slope of the trailing least-squares line, per bar."""
        cov, variance, _ = self.covariance(self.time, x, window)
        return ratio(cov, variance)

    def linear_mean(self, x: Array, window: int) -> Array:
        """Return the trailing mean with weights that fall linearly with age to 1 for the oldest.

        Where all bars are present, that is the plain mean and `(window - 1) / 6` slopes.
        """
        return self.mean(x, window) + self.slope(x, window) * (window - 1) / 6

    def weighted_sum(self, x: Array, weights: Array) -> Array:
        """Return the sum of `weights[age] * x` over the trailing bars; NaN where one is missing."""
        return self._window(kernels.window_weighted_sum, x, weights)

    def mean_deviation(self, x: Array, window: int) -> Array:
        """Return the mean absolute distance from the trailing mean."""
        return self._window(
            kernels.window_deviation, x, self.mean(x, window), window, required_bars(window)
        )

    def ema(self, x: Array, span: int) -> Array:
        """Return the exponential mean with weight `1 - 2 / (span + 1)` a bar, cut at 5 spans.

        The textbook recursion never forgets: its value depends on where the data began, so an
        hourly increment could not equal the full history. Cutting the weights where 4.5e-5 of them
        is left, and sharing that rest among the kept bars, makes the value a function of exactly
        `ema_window(span)` bars.
        """
        return self._decayed(x, ema_window(span), 1 - 2 / (span + 1))

    def wilder(self, x: Array, window: int) -> Array:
        """Return Wilder's smoothing, weight `1 - 1 / window` a bar, cut at 10 windows as `ema` is."""
        return self._decayed(x, wilder_window(window), 1 - 1 / window)

    def _decayed(self, x: Array, window: int, decay: float) -> Array:
        return self._window(
            kernels.window_decayed_mean, x, self.start, window, required_bars(window), decay
        )

    def frame(self, columns: Sequence[str]) -> pl.DataFrame:
        """Return `columns` of the bars on the grid, one symbol's bars after the other's.

        A missing bar is a row of nulls but for its time and name.
        """
        rows, step = len(self.symbols), self.timeframe // _MICROSECOND
        known_at = pl.Series(np.tile(self.numbers * step, rows)).cast(pl.Datetime("us", "UTC"))
        symbols = pl.Series(self.symbols, dtype=pl.String)
        given = {
            "known_at": lambda: known_at,
            "open_time": lambda: known_at - self.timeframe,
            "venue": lambda: self.bars["venue"].head(1).new_from_index(0, len(known_at)),
            "symbol": lambda: symbols.repeat_by(self.length).explode(),
        }
        return pl.DataFrame(
            {
                name: given[name]() if name in given else self.column(name).reshape(-1)
                for name in columns
            },
            nan_to_null=True,
        )
