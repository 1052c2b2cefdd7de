"""Hours whose feature rows were refused: they stay in the table, out of everybody's reach.

The rows are what the bars give, so the next build would only write them again; what keeps them from
scores, books and trainings is the failed check. An hour is back as soon as its check is run again
and passes.
"""

from datetime import datetime, timedelta

import polars as pl

from pipelines.lake import Lake
from pipelines.tables import BARS, FEATURES, KEY, QUALITY, QUARANTINE

_TICK = timedelta(microseconds=1)


def refused_hours(lake: Lake, venue: str, start: datetime, end: datetime) -> list[datetime]:
    """Return the instants with `start < known_at <= end` at which a check of the features failed."""
    columns = ("table", "check", "venue", "symbol", "known_at", "passed")
    rows = lake.read(QUALITY.name, start=start, end=end, columns=columns)
    failed = (pl.col("table") == FEATURES.name) & (pl.col("venue") == venue) & ~pl.col("passed")
    return rows.filter(failed)["known_at"].unique().sort().to_list()


def hours_without_their_bars(
    lake: Lake, venue: str, start: datetime, end: datetime
) -> list[datetime]:
    """Return the instants with `start < known_at <= end` of bars that were refused and not mended since."""
    refused = lake.read(QUARANTINE.name, start=start, end=end)
    refused = refused.filter((pl.col("table") == BARS.name) & (pl.col("venue") == venue))
    standing = lake.read(BARS.name, start=start, end=end, columns=KEY)
    return refused.join(standing, on=KEY, how="anti")["known_at"].unique().sort().to_list()


def without_refused(lake: Lake, features: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of one venue's features whose hour was not refused."""
    if features.is_empty():
        return features
    known_at = features["known_at"].sort()
    venue = features["venue"][0]
    refused = refused_hours(lake, venue, known_at[0] - _TICK, known_at[-1])
    return features.filter(~pl.col("known_at").is_in(refused)) if refused else features
