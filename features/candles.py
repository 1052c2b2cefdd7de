"""Candles: the shape of the newest bar, and the patterns of the last ones.

Where in its range the bar opened and closed says who won it: a long lower wick is a fall that was
bought. The named patterns of one to three bars (Nison 1991) are rare and weak one by one (Marshall,
Young and Rose 2006), so they are counted with their sign over a window: reversals (engulfing, harami,
piercing line and dark cloud, hammer and shooting star, morning and evening star), continuations
(marubozu, three soldiers and crows), indecision (doji). "Long" is a body above the mean body of the
ten bars before, as in TA-Lib. "Small" is at most half of that mean in harami and stars, and below the
mean itself in hammer and shooting star; TA-Lib's limit is the mean in all of them. Shares of one bar
are null where the bar has no range.
"""

import numpy as np
import polars as pl

from features.grid import Grid, ratio
from features.kernels import Array
from features.registry import feature

_SHARE = (0.0, 1.0)
_SIGNED_SHARE = (-1.0, 1.0)
# Bars before that say what a long body is, and the bars a pattern spans beside the newest.
_HABIT = 10
_SPAN = 2


def _of_range(part: pl.Expr) -> pl.Expr:
    span = pl.col("high") - pl.col("low")
    return pl.when(span > 0).then(part / span)


@feature(lookback=1, bounds=_SIGNED_SHARE)
def candle_body() -> pl.Expr:
    """Close minus open, over the bar's range [signed fraction]"""
    return _of_range(pl.col("close") - pl.col("open"))


@feature(lookback=1, bounds=_SHARE)
def upper_wick() -> pl.Expr:
    """High above open and close, over the bar's range [fraction]"""
    return _of_range(pl.col("high") - pl.max_horizontal("open", "close"))


@feature(lookback=1, bounds=_SHARE)
def lower_wick() -> pl.Expr:
    """Low below open and close, over the bar's range [fraction]"""
    return _of_range(pl.min_horizontal("open", "close") - pl.col("low"))


@feature(lookback=1, bounds=(0.0, None))
def bar_range() -> pl.Expr:
    """Log of high over low [log return]"""
    return (pl.col("high") / pl.col("low")).log()


@feature(windows=(24,), lookback=lambda window: window, bounds=_SHARE)
def body_share(grid: Grid, window: int) -> Array:
    """Sum of the bodies of {window} bars over that of their ranges [fraction]"""
    body, span = np.abs(grid.close - grid.open), grid.high - grid.low
    return np.minimum(ratio(grid.mean(body, window), grid.mean(span, window)), 1)


@feature(windows=(24,), lookback=lambda window: window, bounds=_SIGNED_SHARE)
def wick_balance(grid: Grid, window: int) -> Array:
    """Lower minus upper wicks of {window} bars, over their ranges [signed fraction]"""
    wicks = grid.open + grid.close - grid.high - grid.low
    return ratio(grid.mean(wicks, window), grid.mean(grid.high - grid.low, window))


@feature(windows=(24,), lookback=lambda window: window + 1, bounds=_SHARE)
def range_overlap(grid: Grid, window: int) -> Array:
    """Share of the ranges of {window} bars that the bar before each had seen [fraction]"""
    common = np.minimum(grid.high, grid.lag(grid.high, 1)) - np.maximum(
        grid.low, grid.lag(grid.low, 1)
    )
    common = np.where(common < 0, 0.0, common)
    span = np.where(np.isfinite(common), grid.high - grid.low, np.nan)
    return np.minimum(ratio(grid.mean(common, window), grid.mean(span, window)), 1)


@feature(windows=(6, 48), lookback=lambda window: window + _SPAN + _HABIT, bounds=(-4.0, 4.0))
def reversal_patterns(grid: Grid, window: int) -> Array:
    """Bullish minus bearish reversal patterns a bar, over {window} bars [patterns per bar]"""
    return grid.mean(grid.once(_reversals), window)


@feature(windows=(48,), lookback=lambda window: window + _SPAN + _HABIT, bounds=(-2.0, 2.0))
def continuation_patterns(grid: Grid, window: int) -> Array:
    """Bullish minus bearish continuation patterns a bar, over {window} bars [patterns per bar]"""
    return grid.mean(grid.once(_continuations), window)


@feature(windows=(24,), lookback=lambda window: window, bounds=_SHARE)
def doji_share(grid: Grid, window: int) -> Array:
    """Share of {window} bars whose body is below a tenth of their range [fraction]"""
    body, span = np.abs(grid.close - grid.open), grid.high - grid.low
    return grid.mean(np.where(np.isfinite(span), body <= 0.1 * span, np.nan), window)


def _color(grid: Grid) -> Array:
    return np.where(grid.close >= grid.open, 1.0, -1.0)


def _habit(grid: Grid) -> Array:
    """Return the mean body of the bars before the newest."""
    return grid.lag(grid.mean(np.abs(grid.close - grid.open), _HABIT), 1)


def _reversals(grid: Grid) -> Array:
    known = grid.lag(grid.once(_habit), _SPAN) + grid.close
    patterns = engulfing(grid) + harami(grid) + piercing(grid) + hammer(grid) + star(grid)
    return np.where(np.isfinite(known), patterns, np.nan)


def _continuations(grid: Grid) -> Array:
    known = grid.lag(grid.once(_habit), _SPAN) + grid.close
    return np.where(np.isfinite(known), marubozu(grid) + marching(grid), np.nan)


def engulfing(grid: Grid) -> Array:
    """Return 1 where a rising body swallows the falling one before it, -1 for the reverse, else 0."""
    color, before = grid.once(_color), grid.lag(grid.once(_color), 1)
    opened, closed = grid.lag(grid.open, 1), grid.lag(grid.close, 1)
    up = (grid.close >= opened) & (grid.open <= closed)
    down = (grid.open >= closed) & (grid.close <= opened)
    strict = (grid.close != opened) | (grid.open != closed)
    found = (color == -before) & np.where(color > 0, up, down) & strict
    return np.where(found, color, 0.0)


def harami(grid: Grid) -> Array:
    """Return the sign of a small body inside the long, opposite one before it, else 0."""
    opened, closed = grid.lag(grid.open, 1), grid.lag(grid.close, 1)
    body, habit = np.abs(grid.close - grid.open), grid.once(_habit)
    long = np.abs(closed - opened) > grid.lag(habit, 1)
    top, bottom = np.maximum(opened, closed), np.minimum(opened, closed)
    inside = (np.maximum(grid.open, grid.close) < top) & (
        np.minimum(grid.open, grid.close) > bottom
    )
    found = long & (body <= 0.5 * habit) & inside
    return np.where(found, -grid.lag(grid.once(_color), 1), 0.0)


def piercing(grid: Grid) -> Array:
    """Return 1 where a rise opens below a long fall and closes above its middle, -1 mirrored."""
    color, before = grid.once(_color), grid.lag(grid.once(_color), 1)
    opened, closed = grid.lag(grid.open, 1), grid.lag(grid.close, 1)
    long = np.abs(closed - opened) > grid.lag(grid.once(_habit), 1)
    past_middle = before * (grid.close - (opened + closed) / 2) < 0
    short_of_open = before * (grid.close - opened) > 0
    beyond = np.where(before < 0, grid.open < closed, grid.open > closed)
    return np.where((color == -before) & long & beyond & past_middle & short_of_open, color, 0.0)


def hammer(grid: Grid) -> Array:
    """Return 1 where a small body stands on a wick twice its length, -1 where under one, else 0."""
    body, span = np.abs(grid.close - grid.open), grid.high - grid.low
    above = grid.high - np.maximum(grid.open, grid.close)
    below = np.minimum(grid.open, grid.close) - grid.low
    small = body < grid.once(_habit)
    up = small & (below > 2 * body) & (above < 0.1 * span)
    down = small & (above > 2 * body) & (below < 0.1 * span)
    return up.astype(np.float64) - down


def star(grid: Grid) -> Array:
    """Return 1 where long fall, small body and a rise into the fall follow each other, -1 mirrored."""
    first = grid.lag(grid.once(_color), 2)
    opened, closed = grid.lag(grid.open, 2), grid.lag(grid.close, 2)
    body, habit = np.abs(grid.close - grid.open), grid.once(_habit)
    long = np.abs(closed - opened) > grid.lag(habit, 2)
    small = grid.lag(body, 1) <= 0.5 * grid.lag(habit, 1)
    back = first * (grid.close - (closed + 0.3 * (opened - closed))) < 0
    found = long & small & (body > habit) & (grid.once(_color) == -first) & back
    return np.where(found, -first, 0.0)


def marubozu(grid: Grid) -> Array:
    """Return the sign of a long body with next to no wicks, else 0."""
    body, span = np.abs(grid.close - grid.open), grid.high - grid.low
    return np.where((body > grid.once(_habit)) & (body >= 0.9 * span), grid.once(_color), 0.0)


def marching(grid: Grid) -> Array:
    """Return the sign of three bodies of one color, each opening in the last and closing beyond it."""
    color = grid.once(_color)
    found = np.ones_like(grid.close, np.bool_)
    for age in (0, 1):
        opened, closed = grid.lag(grid.open, age), grid.lag(grid.close, age)
        opened_before, closed_before = grid.lag(grid.open, age + 1), grid.lag(grid.close, age + 1)
        found &= grid.lag(color, age + 1) == color
        found &= color * (closed - closed_before) > 0
        found &= (color * (opened - opened_before) > 0) & (color * (opened - closed_before) <= 0)
    return np.where(found, color, 0.0)
