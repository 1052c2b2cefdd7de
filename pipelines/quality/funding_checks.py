"""What the funding that was paid says of the payments that ought to be there.

How often a contract pays is its own: every eight hours as a rule, every four, two or one for a
while. What counts is the time between its two newest payments, and that it may go back to eight
hours without a word: a payment that is not made once is a fact, funding that has stopped is refused.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import polars as pl

from pipelines.clock import format_instant
from pipelines.quality.gate import ALL, CheckResult
from pipelines.tables import FUNDING

USUAL_INTERVAL = timedelta(hours=8)
# Payments that may be missing in a row before the books' funding counts as wrong.
LATE_INTERVALS = 2
FUNDING_CHECKS = ("funding_is_current",)


def payments_due(rates: pl.DataFrame, *, start: datetime, end: datetime) -> dict[str, datetime]:
    """Return the symbols that should have paid with `start < instant <= end` and did not, and when.

    Parameters
    ----------
    rates : polars.DataFrame
        symbol, known_at; one venue, any order, up to `end`. A symbol without any rate owes nothing.
    """
    due = {}
    for symbol, newest, interval in _newest(rates):
        instant = newest + (end - newest) // interval * interval
        if instant > max(start, newest):
            due[symbol] = instant
    return due


def check_funding(
    rates: pl.DataFrame, bars: pl.DataFrame, *, venue: str, as_of: datetime
) -> list[CheckResult]:
    """Check that every contract with a bar at `as_of` has paid within two of its own intervals.

    Eight hours at least are given, and sixteen from its first bar to one that has not paid yet.

    Parameters
    ----------
    rates, bars : polars.DataFrame
        symbol, known_at of the contracts of one venue up to `as_of`, reaching back far enough to
        hold several payments.

    Returns
    -------
    list of CheckResult
        One row over all symbols, and one for each that is late; all hard.
    """
    trading = bars.filter(pl.col("known_at") == as_of)["symbol"].unique().sort().to_list()
    late = list(_late(rates, bars, trading, as_of))
    told = f"{len(trading) - len(late)} of {len(trading)} contracts"
    rows = [(ALL, told, len(late)), *((symbol, why, 1) for symbol, why in late)]
    return [
        CheckResult(
            table=FUNDING.name,
            check="funding_is_current",
            venue=venue,
            symbol=symbol,
            known_at=as_of,
            observed=observed,
            bound=f"newest rate no older than {LATE_INTERVALS} of the contract's intervals and 8 h",
            passed=count == 0,
            failing_rows=count,
        )
        for symbol, observed, count in rows
    ]


def _late(
    rates: pl.DataFrame, bars: pl.DataFrame, trading: Sequence[str], as_of: datetime
) -> Iterator[tuple[str, str]]:
    paid = {symbol: (newest, interval) for symbol, newest, interval in _newest(rates)}
    listed = dict(bars.group_by("symbol").agg(pl.col("known_at").min()).iter_rows())
    for symbol in trading:
        since, interval = paid.get(symbol, (listed[symbol], USUAL_INTERVAL))
        if as_of - since > max(LATE_INTERVALS * interval, USUAL_INTERVAL):
            hours = interval / timedelta(hours=1)
            told = "newest rate" if symbol in paid else "no rate since its first bar"
            yield symbol, f"{told} {format_instant(since)}, interval {hours:g} h"


def _newest(rates: pl.DataFrame) -> Iterator[tuple[str, datetime, timedelta]]:
    for (symbol,), rows in rates.group_by("symbol", maintain_order=True):
        instants = rows["known_at"].unique().sort(descending=True).head(2).to_list()
        interval = instants[0] - instants[1] if len(instants) > 1 else USUAL_INTERVAL
        yield str(symbol), instants[0], interval
