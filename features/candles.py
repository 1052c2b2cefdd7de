"""Candles: the shape of the newest bar.

Where in its range the bar opened and closed says who won it: a long lower wick is a fall that was
bought (Nison 1991). Functions of one bar; null where the bar has no range.
"""

import polars as pl

from features.registry import feature

_SHARE = (0.0, 1.0)


def _of_range(part: pl.Expr) -> pl.Expr:
    span = pl.col("high") - pl.col("low")
    return pl.when(span > 0).then(part / span)


@feature(lookback=1, bounds=(-1.0, 1.0))
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
