"""What is in every column of a table of hundreds: null share, range, first value; one row a column.

A profile of many rows is the profiles of their months put together, and a month whose data files have
not changed is not read again.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from pipelines.clock import format_instant
from pipelines.lake import Lake, MonthFiles
from pipelines.lake.snapshot import month_of
from pipelines.quality.gate import ALL, CheckResult
from pipelines.tables import INSTANT, QUALITY, Table

# How the check of a column is named: what follows is the column.
STATISTICS = "statistics of "
_PROFILE = pl.Schema(
    {
        "column": pl.String(),
        "rows": pl.Int64(),
        "nulls": pl.Int64(),
        "non_finite": pl.Int64(),
        "least": pl.Float64(),
        "greatest": pl.Float64(),
        "first_valid": INSTANT,
    }
)
_TICK = timedelta(microseconds=1)
_Month = tuple[MonthFiles, tuple[str, ...], str]
_profiled: WeakKeyDictionary[Lake, dict[str, tuple[_Month, pl.DataFrame]]] = WeakKeyDictionary()


def profile(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Profile float columns of rows with `known_at`.

    Returns
    -------
    polars.DataFrame
        column; rows; nulls; non_finite, the values that are NaN or infinite; least, greatest, of the
        finite values, null without one; first_valid, `known_at` of the earliest finite value.
    """
    if frame.is_empty() or not names:
        return pl.DataFrame(schema=_PROFILE)
    ordered = frame.sort("known_at")
    known_at = ordered["known_at"].to_list()
    values = ordered.select(names).to_numpy()
    nulls = np.array(ordered.select(names).null_count().row(0))
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    least = np.where(finite, values, np.inf).min(axis=0)
    greatest = np.where(finite, values, -np.inf).max(axis=0)
    first = finite.argmax(axis=0)
    return pl.DataFrame(
        {
            "column": list(names),
            "rows": [frame.height] * len(names),
            "nulls": nulls,
            "non_finite": frame.height - nulls - count,
            "least": [float(x) if n else None for x, n in zip(least, count, strict=True)],
            "greatest": [float(x) if n else None for x, n in zip(greatest, count, strict=True)],
            "first_valid": [known_at[i] if n else None for i, n in zip(first, count, strict=True)],
        },
        schema=_PROFILE,
    )


def together(profiles: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Put the profiles of disjoint rows together; columns in the order they first come in."""
    return (
        pl.concat([pl.DataFrame(schema=_PROFILE), *profiles])
        .group_by("column", maintain_order=True)
        .agg(
            pl.col("rows", "nulls", "non_finite").sum(),
            pl.col("least").min(),
            pl.col("greatest").max(),
            pl.col("first_valid").min(),
        )
    )


def table_profile(
    lake: Lake, table: str, names: Sequence[str], *, venue: str, as_of: datetime
) -> pl.DataFrame:
    """Profile all rows of a venue known up to `as_of`, a month in memory at a time."""
    held, found = _profiled.setdefault(lake, {}), []
    for month, files in lake.months(table).items():
        begin = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
        if begin > as_of:
            continue
        made = (files, tuple(names), venue)
        known, kept = held.get(month, (None, None))
        if kept is None or known != made:
            end = min(as_of, (begin + timedelta(days=32)).replace(day=1) - _TICK)
            rows = lake.read(table, start=begin - _TICK, end=end)
            kept = profile(rows.filter(pl.col("venue") == venue), names)
            if month < month_of(as_of):
                held[month] = (made, kept)
        found.append(kept)
    return together(found)


def statistics(
    table: Table, found: pl.DataFrame, *, venue: str, as_of: datetime
) -> list[CheckResult]:
    """Return a profile as rows of `quality`: a fact a column, which always holds."""
    rows = []
    for row in found.iter_rows(named=True):
        column = table.column(row["column"])
        observed = {
            "rows": row["rows"],
            "null_share": row["nulls"] / row["rows"],
            "least": row["least"],
            "greatest": row["greatest"],
            "first_valid": row["first_valid"] and format_instant(row["first_valid"]),
        }
        sides = ((">=", column.ge), ("<=", column.le))
        bounds = [f"{sign} {bound:g}" for sign, bound in sides if bound is not None]
        rows.append(
            CheckResult(
                table=table.name,
                check=f"{STATISTICS}{column.name}",
                venue=venue,
                symbol=ALL,
                known_at=as_of,
                observed=json.dumps(observed),
                bound=" and ".join(bounds) or "none declared",
                passed=True,
            )
        )
    return rows


def statistics_checks(table: Table) -> list[str]:
    """Return the names of the checks that `statistics` may give for `table`."""
    return [f"{STATISTICS}{column.name}" for column in table.columns if column.dtype.is_float()]


def latest_statistics(
    lake: Lake, table: str, *, venue: str, end: datetime, start: datetime | None = None
) -> dict[str, Any]:
    """Return the newest statistics written for `start < known_at <= end`, column to `observed`."""
    columns = ("table", "venue", "known_at", "check", "observed")
    rows = lake.read(QUALITY.name, start=start, end=end, columns=columns)
    ours = (pl.col("table") == table) & (pl.col("venue") == venue)
    found = rows.filter(ours & pl.col("check").str.starts_with(STATISTICS))
    newest = found.sort("known_at").unique("check", keep="last", maintain_order=True)
    return {
        check.removeprefix(STATISTICS): json.loads(observed)
        for check, observed in newest.select("check", "observed").iter_rows()
    }
