"""From an answer to readings: numbers at instants, parsed exactly, in the contract of a table."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import polars as pl

from pipelines import clock
from pipelines.sources.client import UnknownSymbol, VenueClient
from pipelines.sources.pages import BadPage, shown, to_milliseconds
from pipelines.tables import Table

T = TypeVar("T", int, float)
# Instant [ms since 1970] to value.
Values = dict[int, float | None]
# Reads the page of readings of one contract between two stamps, both included, and the answer's rows.
ReadPage = Callable[[VenueClient, str, int, int], tuple[Values, int] | UnknownSymbol]


def number(value: Any, kind: type[T]) -> T | None:
    """Return a number as it was told, None where nothing was; BadPage for anything else."""
    if value is None or value == "":
        return None
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise BadPage(f"{value!r:.40}, not a number") from None


def put(values: Values, stamp: int | None, value: float | None, first: int, last: int) -> None:
    """Add one reading to those of a page.

    Raises
    ------
    BadPage
        If it has no instant, one outside what was asked, or one that has another value already.
    """
    if stamp is None or not first <= stamp <= last:
        where = "at no instant" if stamp is None else shown(stamp)
        raise BadPage(f"a value of {where}, outside the span that was asked")
    held = values.setdefault(stamp, value)
    # NaN stays, for the contract to refuse and quarantine to show, and is no contradiction of itself.
    if held is not value and held != value:
        raise BadPage(f"two values of {shown(stamp)} that disagree")


def read_pages(
    read: ReadPage,
    client: VenueClient,
    symbol: str,
    *,
    first: int,
    last: int,
    step: int,
    limit: int,
) -> tuple[Values, int] | UnknownSymbol:
    """Read all readings of `first .. last` [ms], at most `limit` a page, and count the duplicates."""
    values: Values = {}
    duplicates = 0
    while first <= last:
        page = read(client, symbol, first, min(last, first + (limit - 1) * step))
        if isinstance(page, UnknownSymbol):
            return page
        found, rows = page
        values |= found
        duplicates += rows - len(found)
        first += limit * step
    return values, duplicates


def frame(
    table: Table,
    venue: str,
    symbol: str,
    values: Mapping[int, float | None],
    *,
    column: str,
    of: str | None = None,
    known_at: Callable[[datetime], datetime] | None = None,
) -> pl.DataFrame:
    """Return readings in the contract of `table`, sorted; values that are null are left out.

    Parameters
    ----------
    column : str
        Where the value goes.
    of : str, optional
        Where the instant goes that a reading is of, beside `known_at`.
    known_at : callable, optional
        From that instant to when it was known; the instant itself by default.
    """
    told = {stamp: value for stamp, value in sorted(values.items()) if value is not None}
    instant = table.schema["known_at"]
    observed = pl.Series(list(told), dtype=pl.Int64).cast(pl.Datetime("ms", "UTC")).cast(instant)
    known = observed
    if known_at is not None:
        known = pl.Series([known_at(at) for at in observed.to_list()], dtype=instant)
    columns = {
        "venue": pl.Series([venue] * len(told), dtype=pl.String),
        "symbol": pl.Series([symbol] * len(told), dtype=pl.String),
        "known_at": known,
        column: pl.Series(list(told.values()), dtype=pl.Float64),
        "ingested_at": pl.Series([clock.now()] * len(told), dtype=instant),
    }
    if of is not None:
        columns[of] = observed
    return pl.DataFrame(columns).select(*table.schema)


def stamps_within(start: datetime, end: datetime, step: int) -> tuple[int, int]:
    """Return the first and last instant of a grid with `start < instant <= end` [ms since 1970]."""
    first = to_milliseconds(start) // step * step + step
    return first, to_milliseconds(end) // step * step
