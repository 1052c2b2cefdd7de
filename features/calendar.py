"""Calendar: where in the day and the week the bar closed (UTC).

Crypto trades around the clock, but its traders sleep: volume and volatility follow the sessions of
Asia, Europe and the United States and thin out at weekends (Petukhina, Reule and Haerdle 2021).
Hour and weekday are points on a circle, so that 23:00 is next to 00:00. All are functions of
`known_at` alone.
"""

import math

import polars as pl

from features.registry import feature

_CIRCLE = (-1.0, 1.0)
_FLAG = (0.0, 1.0)


def _hour() -> pl.Expr:
    return pl.col("known_at").dt.hour() + pl.col("known_at").dt.minute() / 60


def _weekday() -> pl.Expr:
    return pl.col("known_at").dt.weekday() - 1 + _hour() / 24


@feature(lookback=1, bounds=_CIRCLE)
def hour_sin() -> pl.Expr:
    """Sine of the time of day [position on a circle]"""
    return (_hour() * (2 * math.pi / 24)).sin()


@feature(lookback=1, bounds=_CIRCLE)
def hour_cos() -> pl.Expr:
    """Cosine of the time of day [position on a circle]"""
    return (_hour() * (2 * math.pi / 24)).cos()


@feature(lookback=1, bounds=_CIRCLE)
def weekday_sin() -> pl.Expr:
    """Sine of the time of week, from Monday 00:00 [position on a circle]"""
    return (_weekday() * (2 * math.pi / 7)).sin()


@feature(lookback=1, bounds=_CIRCLE)
def weekday_cos() -> pl.Expr:
    """Cosine of the time of week, from Monday 00:00 [position on a circle]"""
    return (_weekday() * (2 * math.pi / 7)).cos()


@feature(lookback=1, bounds=_FLAG)
def is_weekend() -> pl.Expr:
    """One on Saturday and Sunday [flag]"""
    return pl.col("known_at").dt.weekday() >= 6


@feature(lookback=1, bounds=_FLAG)
def asia_session() -> pl.Expr:
    """One from 00:00 to 08:00, working hours in Tokyo, Seoul and Singapore [flag]"""
    return _hour().is_between(0, 8, closed="left")


@feature(lookback=1, bounds=_FLAG)
def europe_session() -> pl.Expr:
    """One from 07:00 to 16:00, working hours in London and Frankfurt [flag]"""
    return _hour().is_between(7, 16, closed="left")


@feature(lookback=1, bounds=_FLAG)
def us_session() -> pl.Expr:
    """One from 13:00 to 21:00, working hours in New York and Chicago [flag]"""
    return _hour().is_between(13, 21, closed="left")
