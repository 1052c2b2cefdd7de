"""Leaks planted on purpose: features that look ahead, forget too little or fill a gap.

None of them is registered. `hourglass prove leakage` sends them through the same laws on the same bars
as the real features, and a proof that lets one pass has proved nothing.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from features.as_of_join import Readings, reading
from features.grid import Grid
from features.hidden_states import STATES, _deviation, _fit, _smoothed
from features.kernels import Array
from features.registry import Feature, define

# More than any of them needs, so that none is caught for a lookback it declares too short.
_LOOKBACK = 200
_STEPS = 12

# A daily index is known six hours into the next day.
_INDEX_LAG = timedelta(hours=30)
_INDEX_COLUMN = "index_of_its_day"

PREFIX, LOOKBACK, GAPS = "prefix invariance", "lookback", "gap policy"


def centred_window() -> pl.Expr:
    """Mean close of the bars around this one, over the close [ratio]"""
    return pl.col("close").rolling_mean(9, center=True) / pl.col("close")


def full_sample_scaling() -> pl.Expr:
    """Close in deviations of the whole sample [standard deviations]"""
    return (pl.col("close") - pl.col("close").mean()) / pl.col("close").std()


def negative_shift() -> pl.Expr:
    """Return of the next bar [log return]"""
    return pl.col("close").log().diff().shift(-1)


def forward_filled_label() -> pl.Expr:
    """Return of the next day, known once a day and carried on [log return]"""
    label = pl.col("close").log().shift(-24) - pl.col("close").log()
    return pl.when(pl.col("known_at").dt.hour() == 0).then(label).forward_fill()


def same_day_close() -> pl.Expr:
    """Close of the day this bar belongs to, as a daily index joined by its date, over the close [ratio]"""
    day = pl.col("open_time").dt.date()
    return pl.col("close").drop_nulls().last().over(day) / pl.col("close")


def index_joined_by_date(grid: Grid) -> Array:
    """Log return of the close to a daily index that was joined by its date, not by when it was known [log return]"""
    return np.log(reading(grid, _INDEX_COLUMN) / grid.close)


@dataclass(frozen=True)
class ReadingsOfTheirDay(Readings):
    """Readings joined by the date they are of: right only for somebody who lives a day later."""

    def onto(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return `bars` with each day's reading on every bar of that day."""
        of = self.rows.select("date", pl.col("value").alias(self.column))
        day = bars.drop(self.column, strict=False).with_columns(
            date=pl.col("open_time").dt.truncate("1d")
        )
        return day.join(of, on="date", how="left", maintain_order="left").drop("date")


def planted_readings(bars: pl.DataFrame) -> ReadingsOfTheirDay:
    """Return a daily index made of the first symbol's closes, to be joined the wrong way.

    Its rows say rightly when they were known, so cutting the future takes the day's close away.
    """
    first = bars.filter(pl.col("symbol") == bars["symbol"].min()).sort("known_at")
    daily = first.group_by(date=pl.col("open_time").dt.truncate("1d"), maintain_order=True)
    rows = daily.agg(value=pl.col("close").last()).with_columns(
        known_at=pl.col("date") + _INDEX_LAG
    )
    return ReadingsOfTheirDay(_INDEX_COLUMN, rows, _INDEX_LAG)


def whole_sample_states(grid: Grid) -> Array:
    """Probability of the calm state of a hidden Markov model fitted on the whole sample [probability]"""
    calm = np.full_like(grid.log_return, np.nan)
    for row, r in enumerate(grid.log_return):
        scale = _deviation(r, 1.0)
        if np.isnan(scale):
            continue
        mean, spread, move = np.empty(STATES), np.empty(STATES), np.empty((STATES, STATES))
        _fit(r, scale, mean, spread, move)
        calm[row] = _smoothed(r, mean, spread, move)[0][:, 0]
    return np.where(np.isnan(grid.log_return), np.nan, calm)


def whole_sample_mixture(grid: Grid) -> Array:
    """Probability of the wider of two normals fitted on the whole sample [probability]"""
    found = np.full_like(grid.log_return, np.nan)
    for row, r in enumerate(grid.log_return):
        present = np.isfinite(r)
        if present.any():
            found[row, present] = _wider(r[present])
    return found


def _wider(r: Array) -> Array:
    """Return the responsibility of the wider component after some steps of expectation maximisation."""
    spread, share = np.std(r) * np.array([0.5, 2.0]) + 1e-12, np.array([0.7, 0.3])
    for _ in range(_STEPS):
        density = share / spread * np.exp(-0.5 * (r[:, None] / spread) ** 2) + 1e-300
        weight = density / density.sum(axis=1, keepdims=True)
        share = weight.mean(axis=0)
        spread = np.sqrt((weight * r[:, None] ** 2).sum(axis=0) / weight.sum(axis=0)) + 1e-12
    wider: Array = weight[:, 1]
    return wider


def endless_mean() -> pl.Expr:
    """Exponential mean that never forgets, over the close [ratio]"""
    return pl.col("close").ewm_mean(span=_LOOKBACK) / pl.col("close")


def filled_momentum() -> pl.Expr:
    """Return of a day with missing bars filled from the last [log return]"""
    return pl.col("close").forward_fill().log().diff(24)


def missing_counted_as_still() -> pl.Expr:
    """Return of the window, as if the price had not moved where bars are missing [log return]"""
    change = pl.col("close").log().diff()
    return pl.when(change.is_not_null()).then(change.fill_null(0.0).rolling_sum(_LOOKBACK - 1))


def canaries() -> list[tuple[Feature, str]]:
    """Return every planted leak and the law it breaks."""
    leaks = (
        (centred_window, PREFIX),
        (full_sample_scaling, PREFIX),
        (negative_shift, PREFIX),
        (forward_filled_label, PREFIX),
        (same_day_close, PREFIX),
        (index_joined_by_date, PREFIX),
        (whole_sample_states, PREFIX),
        (whole_sample_mixture, PREFIX),
        (endless_mean, LOOKBACK),
        (filled_momentum, GAPS),
        (missing_counted_as_still, GAPS),
    )
    return [(define(leak, lookback=_LOOKBACK)[0], law) for leak, law in leaks]
