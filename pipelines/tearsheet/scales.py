"""Axes: round numbers along values, calendar boundaries along time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.tearsheet.formats import Kind

_TIME_TICKS = 8
_VALUE_TICKS = 5
_LOG_FROM = 4.0
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60)
_HOUR_STEPS = (1, 3, 6, 12, 24, 48, 72, 96, 168, 240, 360)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place (0 at the start, 1 at the end) and its label."""

    place: float
    label: str


@dataclass(frozen=True)
class Scale:
    """A map of values to places between 0 and 1, linear or logarithmic."""

    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return the place of `value`: 0 at `low`, 1 at `high`."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, kind: Kind) -> list[Tick]:
        """Return marks at round values, labelled as `kind`."""
        values = (
            _log_values(self.low, self.high)
            if self.logarithmic
            else _round_values(self.low, self.high, least=1.0 if kind == "count" else 0.0)
        )
        return [Tick(self.place(v), short(v, kind)) for v in values]


def value_scale(values: Sequence[float], *, zero: bool = False, log: bool = False) -> Scale:
    """Return a scale that holds all finite `values`, a little wider than they are.

    Parameters
    ----------
    values : sequence of float
    zero : bool
        Zero is part of the scale.
    log : bool
        Logarithmic where the values are positive and span a factor of more than four.
    """
    finite = [v for v in values if math.isfinite(v)] + ([0.0] if zero else [])
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if log and low > 0 and high / low > _LOG_FROM:
        return Scale(low / 1.05, high * 1.05, logarithmic=True)
    margin = (high - low) * 0.04 or abs(high) * 0.01 or 1.0
    rests, hangs = (zero and low == 0.0 < high), (zero and low < 0.0 == high)
    return Scale(low if rests else low - margin, high if hangs else high + margin)


def short(value: float, kind: Kind) -> str:
    """Return a label for an axis: whole per cent, thousands as k and M."""
    if kind in {"percent", "share", "fraction"}:
        places = 0 if abs(value * 100 - round(value * 100)) < 1e-9 else 1
        return f"{value:.{places}%}".replace("-", "−")
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}".replace("-", "−")
    return f"{value:g}".replace("-", "−")


def time_ticks(start: datetime, end: datetime) -> list[Tick]:
    """Return marks at beginnings of years, months, days or hours between two instants."""
    span = (end - start).total_seconds()
    if span <= 0:
        return [Tick(0.5, start.strftime("%Y-%m-%d %H:%M"))]
    found = _months(start, end) if span > 90 * 86400 else _hours(start, end)
    return [Tick((t - start).total_seconds() / span, label) for t, label in found]


def share_of(instant: datetime, start: datetime, end: datetime) -> float:
    """Return the place of an instant between two others; the middle if they are one."""
    return (instant - start) / (end - start) if end > start else 0.5


def _months(start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    first, last = start.year * 12 + start.month, end.year * 12 + end.month - 1
    count = last - first + 1
    step = next((s for s in _MONTH_STEPS if count / s <= _TIME_TICKS), _MONTH_STEPS[-1])
    marks = [
        datetime(m // 12, m % 12 + 1, 1, tzinfo=UTC)
        for m in range(first, last + 1)
        if m % step == 0
    ]
    pattern = "%Y" if step >= 12 else "%b %Y"
    return [(t, t.strftime(pattern)) for t in marks]


def _hours(start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    first, last = math.ceil(start.timestamp() / 3600), math.floor(end.timestamp() / 3600)
    step = next(
        (s for s in _HOUR_STEPS if (last - first) / s <= _TIME_TICKS), (last - first) // _TIME_TICKS
    )
    marks = [datetime.fromtimestamp(h * 3600, UTC) for h in range(first, last + 1) if h % step == 0]
    return [(t, t.strftime("%d %b" if step >= 24 else "%d %b %H:%M")) for t in marks]


def _round_values(low: float, high: float, least: float) -> list[float]:
    raw = max((high - low) / _VALUE_TICKS, least)
    size = 10 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_values(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        values = [m * 10.0**p for p in powers for m in steps if low <= m * 10.0**p <= high]
        if len(values) <= 2 * _VALUE_TICKS:
            break
    return values
