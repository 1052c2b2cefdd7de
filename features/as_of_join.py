"""Readings of outside sources on the bars: at every bar the newest that was known then, if not stale.

This is the one place where another table meets the bars. The join looks backward on `known_at`, the
instant at which a reading was published, never on the date it is about. A reading older than its limit
is no longer said: the value is null, as it is before the first reading. Nothing is filled on the grid:
a bar that is missing has no reading either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from features.grid import Grid
from features.kernels import Array

# What a shaken reading is multiplied by.
_SHOCK = 1e6


@dataclass(frozen=True)
class Readings:
    """What one source published.

    Parameters
    ----------
    column : str
        Name on the bars, one of `SOURCE_COLUMNS` for the features of this package.
    rows : polars.DataFrame
        known_at, value, and symbol where every symbol has its own; in any order. Null means the
        source did not say: the reading before it stands.
    stale_after : timedelta
        A reading this old still counts, an older one does not.
    """

    column: str
    rows: pl.DataFrame
    stale_after: timedelta

    def onto(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return `bars` with the column: the newest reading at each bar's `known_at`."""
        return join_as_of(bars, self.rows, self.column, stale_after=self.stale_after)

    def until(self, instant: datetime) -> "Readings":
        """Return what had been published by `instant`."""
        return replace(self, rows=self.rows.filter(pl.col("known_at") <= instant))

    def shaken_after(self, instant: datetime) -> "Readings":
        """Return readings whose values after `instant` are others."""
        later = pl.col("known_at") > instant
        value = pl.when(later).then(pl.col("value") * _SHOCK + _SHOCK).otherwise(pl.col("value"))
        return replace(self, rows=self.rows.with_columns(value=value))


# Column on the bars to its unit. All are null where the source is off, silent or not there yet.
SOURCE_COLUMNS: dict[str, str] = {
    "funding_rate": "fraction of the position's value for eight hours, paid by longs",
    "open_interest": "base",
    "premium": "fraction of the index price",
    "fear_greed": "points from 0 to 100",
    "vix": "annual percent",
    "dxy": "index points",
}


def join_as_of(
    bars: pl.DataFrame, rows: pl.DataFrame, column: str, *, stale_after: timedelta
) -> pl.DataFrame:
    """Return `bars` with `column`: the newest `value` of `rows` known at each bar.

    Parameters
    ----------
    bars : polars.DataFrame
        symbol and known_at among its columns; rows and their order stay as they are.
    rows : polars.DataFrame
        known_at, value, and symbol where every symbol has its own readings. Of two readings of one
        instant the later row counts.
    column : str
        Replaced where `bars` have it already.
    stale_after : timedelta
        Oldest age of a reading that still counts.

    Returns
    -------
    polars.DataFrame
        `bars` and a float64 column, null before the first reading and where the newest is stale.
    """
    by = [name for name in ("symbol",) if name in rows.columns]
    held = rows.drop_nulls("value").select(*by, "known_at", pl.col("value").cast(pl.Float64))
    instants = bars.select(*by, "known_at").unique().sort("known_at")
    known = instants.join_asof(
        held.sort("known_at", maintain_order=True),
        on="known_at",
        by=by or None,
        strategy="backward",
        tolerance=stale_after,
        check_sortedness=False,
    ).rename({"value": column})
    bare = bars.drop(column, strict=False)
    return bare.join(known, on=[*by, "known_at"], how="left", maintain_order="left")


def with_readings(bars: pl.DataFrame, sources: Sequence[Readings]) -> pl.DataFrame:
    """Return `bars` with a column of every source."""
    for source in sources:
        bars = source.onto(bars)
    return bars


def per_eight_hours(rates: pl.DataFrame) -> pl.DataFrame:
    """Return readings of funding in one unit, whatever the interval a contract pays at.

    A rate is divided by the hours since the payment before it, eight at most, and taken times eight;
    the first of a contract counts as one of eight hours. All of that is known when it is paid.

    Parameters
    ----------
    rates : polars.DataFrame
        symbol, known_at, funding_rate [fraction an interval].

    Returns
    -------
    polars.DataFrame
        symbol, known_at, value [fraction for eight hours].
    """
    ordered = rates.sort("symbol", "known_at")
    since = pl.col("known_at").diff().over("symbol").dt.total_seconds() / 3600
    hours = since.round().clip(1, 8).fill_null(8.0)
    return ordered.select("symbol", "known_at", value=pl.col("funding_rate") * 8 / hours)


def reading(grid: Grid, column: str) -> Array:
    """Return a source's column on the grid; NaN throughout where the bars do not carry it."""
    if column in grid.columns:
        return grid.column(column)
    return np.full_like(grid.close, np.nan)
