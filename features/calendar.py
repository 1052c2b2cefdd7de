"""Calendar: where in the day, the week, the month and the year the bar closed (UTC).

Crypto trades around the clock, but its traders sleep: volume and volatility follow the sessions of
Asia, Europe and the United States and thin out at weekends (Petukhina, Reule and Haerdle 2021).
Perpetual contracts pay funding at 00:00, 08:00 and 16:00, and positions are moved before it; dated
futures roll at the end of the month and of the quarter (on the turn of the month: Ariel 1987). Places in a cycle are points on a circle, so that 23:00 is next
to 00:00. All are functions of `known_at` alone.
"""

from datetime import timedelta

import numpy as np
import numpy.typing as npt

from features.grid import Grid
from features.kernels import Array
from features.registry import feature

_CIRCLE = (-1.0, 1.0)
_SHARE = (0.0, 1.0)
_MICROSECOND = timedelta(microseconds=1)
_HOUR = 3_600_000_000
_FUNDING_HOURS = 8


def _instants(grid: Grid) -> npt.NDArray[np.int64]:
    return grid.numbers * (grid.timeframe // _MICROSECOND)


def _hour(grid: Grid) -> Array:
    return _instants(grid) / _HOUR % 24


def _weekday(grid: Grid) -> Array:
    # 1970 began on a Thursday.
    return (_instants(grid) / (24 * _HOUR) + 3) % 7


def _place(grid: Grid, unit: str) -> tuple[Array, Array]:
    """Return the days since this month, quarter or year began, and the days it has."""
    months = {"M": 1, "Q": 3, "Y": 12}[unit]
    now = _instants(grid).astype("datetime64[us]")
    begun = now.astype("datetime64[M]").astype(np.int64) // months * months
    first = begun.astype("datetime64[M]").astype("datetime64[us]")
    following = (begun + months).astype("datetime64[M]").astype("datetime64[us]")
    return (now - first).astype(np.float64) / (24 * _HOUR), (following - first).astype(
        np.float64
    ) / (24 * _HOUR)


def _rows(grid: Grid, values: npt.NDArray[np.generic]) -> Array:
    return np.tile(values.astype(np.float64), (len(grid.symbols), 1))


def _sine(grid: Grid, turns: Array) -> Array:
    return _rows(grid, np.sin(2 * np.pi * turns))


def _cosine(grid: Grid, turns: Array) -> Array:
    return _rows(grid, np.cos(2 * np.pi * turns))


@feature(lookback=1, bounds=_CIRCLE)
def hour_sin(grid: Grid) -> Array:
    """Sine of the time of day [position on a circle]"""
    return _sine(grid, _hour(grid) / 24)


@feature(lookback=1, bounds=_CIRCLE)
def hour_cos(grid: Grid) -> Array:
    """Cosine of the time of day [position on a circle]"""
    return _cosine(grid, _hour(grid) / 24)


@feature(lookback=1, bounds=_CIRCLE)
def weekday_sin(grid: Grid) -> Array:
    """Sine of the time of week, from Monday 00:00 [position on a circle]"""
    return _sine(grid, _weekday(grid) / 7)


@feature(lookback=1, bounds=_CIRCLE)
def weekday_cos(grid: Grid) -> Array:
    """Cosine of the time of week, from Monday 00:00 [position on a circle]"""
    return _cosine(grid, _weekday(grid) / 7)


@feature(lookback=1, bounds=_CIRCLE)
def year_sin(grid: Grid) -> Array:
    """Sine of the time of year, from January 1 [position on a circle]"""
    since, length = _place(grid, "Y")
    return _sine(grid, since / length)


@feature(lookback=1, bounds=_CIRCLE)
def year_cos(grid: Grid) -> Array:
    """Cosine of the time of year, from January 1 [position on a circle]"""
    since, length = _place(grid, "Y")
    return _cosine(grid, since / length)


@feature(lookback=1, bounds=_SHARE)
def is_weekend(grid: Grid) -> Array:
    """One on Saturday and Sunday [flag]"""
    return _rows(grid, _weekday(grid) >= 5)


@feature(lookback=1, bounds=_SHARE)
def asia_session(grid: Grid) -> Array:
    """One from 00:00 to 08:00, working hours in Tokyo, Seoul and Singapore [flag]"""
    return _rows(grid, _hour(grid) < 8)


@feature(lookback=1, bounds=_SHARE)
def europe_session(grid: Grid) -> Array:
    """One from 07:00 to 16:00, working hours in London and Frankfurt [flag]"""
    hour = _hour(grid)
    return _rows(grid, (hour >= 7) & (hour < 16))


@feature(lookback=1, bounds=_SHARE)
def us_session(grid: Grid) -> Array:
    """One from 13:00 to 21:00, working hours in New York and Chicago [flag]"""
    hour = _hour(grid)
    return _rows(grid, (hour >= 13) & (hour < 21))


@feature(lookback=1, bounds=_SHARE)
def funding_clock(grid: Grid) -> Array:
    """Time to the next funding at 00:00, 08:00 or 16:00, one just after it [fraction of 8 hours]"""
    return _rows(grid, 1 - _hour(grid) % _FUNDING_HOURS / _FUNDING_HOURS)


@feature(lookback=1, bounds=_SHARE)
def month_elapsed(grid: Grid) -> Array:
    """Share of the calendar month that has passed [fraction]"""
    since, length = _place(grid, "M")
    return _rows(grid, since / length)


@feature(lookback=1, bounds=_SHARE)
def turn_of_month(grid: Grid) -> Array:
    """One in the last day and the first three of a month [flag]"""
    since, length = _place(grid, "M")
    return _rows(grid, (since < 3) | (length - since <= 1))


@feature(lookback=1, bounds=_SHARE)
def quarter_elapsed(grid: Grid) -> Array:
    """Share of the calendar quarter that has passed [fraction]"""
    since, length = _place(grid, "Q")
    return _rows(grid, since / length)
