"""The Fear & Greed index of alternative.me: one number a day, from a public address without a key.

The value of a date appears about 00:00 UTC of that date and is not changed afterwards. `known_at` is the
beginning of the date plus a written lag.
"""

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pipelines.sources.client import UnknownSymbol, VenueClient
from pipelines.sources.pages import BadPage, shown
from pipelines.sources.readings import Values, frame, number, put, stamps_within
from pipelines.tables import INDEX_PUBLISHERS, INDICES

SERIES = "FEAR_GREED"
_DAY = 86_400_000
# The newest dates are asked for by their number; today's may or may not be there yet.
_SPARE_DAYS = 2


def read_fear_greed(
    client: VenueClient, host: str, *, start: datetime, end: datetime, now: datetime, lag: timedelta
) -> pl.DataFrame:
    """Read the index of the dates with `start < known_at <= end`.

    Parameters
    ----------
    host : str
        Where the publisher is.
    now : datetime
        From which the publisher counts its newest dates.
    lag : timedelta
        From the beginning of a date to when its value is known.

    Returns
    -------
    polars.DataFrame
        In the contract of indices, sorted.

    Raises
    ------
    ContractViolation
        If an answer keeps being wrong: not the index, not midnight, contradicting itself.
    SourceUnavailable
        If the publisher does not answer.
    """
    first, last = stamps_within(start - lag, end - lag, _DAY)
    days = (now - start) // timedelta(days=1) + _SPARE_DAYS
    url = f"{host}/fng/?limit={days}&format=json"
    what = f"the Fear & Greed index of {days} days"

    def read() -> Values:
        answer = client.ask(lambda: client.api.fetch(url), what=what)
        return parse_fear_greed(answer, first, last)

    values = client.read_page(read, what=what, symbol=SERIES)
    assert not isinstance(values, UnknownSymbol)  # only exchanges list symbols
    return frame(
        INDICES,
        INDEX_PUBLISHERS[SERIES],
        SERIES,
        values,
        column="value",
        of="date",
        known_at=lambda d: d + lag,
    )


def parse_fear_greed(answer: Any, first: int, last: int) -> Values:
    """Parse an answer, ``{"data": [{"value": "40", "timestamp": "1551157200"}, ...]}``.

    Returns
    -------
    dict
        Midnight of the date [ms since 1970] to value; dates outside `first .. last`, which the
        publisher cannot be kept from sending, are left out.

    Raises
    ------
    BadPage
        On anything else, on a date that is no midnight, or on two values of one date.
    """
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise BadPage(f"{answer!r:.80}, not a list of index values")
    values: Values = {}
    for row in rows:
        stamp = number(row.get("timestamp"), int) if isinstance(row, dict) else None
        if stamp is None:
            raise BadPage(f"a value of {row!r:.80}, without a date")
        if stamp * 1000 % _DAY:
            raise BadPage(f"a value of {shown(stamp * 1000)}, which is no midnight")
        if first <= stamp * 1000 <= last:
            put(values, stamp * 1000, number(row.get("value"), float), first, last)
    return values
