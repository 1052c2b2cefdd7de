"""Daily closes of VIX and dollar index, from Yahoo's chart API: public, without a key, with history.

A day's row is there while the day still trades, with the price of the moment. So a close counts as known
only a written lag after its date began, on the next day at the earliest; by then it does not change.
Closes are rounded to what the series are quoted in, because the publisher sends the noise of its floats.
"""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import polars as pl

from pipelines.sources.client import UnknownSymbol, VenueClient
from pipelines.sources.pages import BadPage
from pipelines.sources.readings import Values, frame, number, put, stamps_within
from pipelines.tables import INDEX_PUBLISHERS, INDICES

# Series to the publisher's name of it.
SYMBOLS = {"VIX": "^VIX", "DXY": "DX-Y.NYB"}
_DECIMALS = 3
_DAY = 86_400_000


def read_closes(
    client: VenueClient, host: str, series: str, *, start: datetime, end: datetime, lag: timedelta
) -> pl.DataFrame:
    """Read the closes of one of `SYMBOLS` with `start < known_at <= end`.

    Parameters
    ----------
    host : str
        Where the publisher is.
    lag : timedelta
        From the beginning of a date to when its close is known.

    Returns
    -------
    polars.DataFrame
        In the contract of indices, sorted; days without trading are missing.

    Raises
    ------
    ContractViolation
        If an answer keeps being wrong: another series, not numbers, contradicting itself.
    SourceUnavailable
        If the publisher does not answer.
    """
    first, last = stamps_within(start - lag, end - lag, _DAY)
    name = SYMBOLS[series]
    span = f"period1={first // 1000}&period2={last // 1000 + 86_400}"
    url = f"{host}/v8/finance/chart/{quote(name)}?{span}&interval=1d"
    what = f"the closes of {series}"

    def read() -> Values:
        answer = client.ask(lambda: client.api.fetch(url), what=what)
        return parse_closes(answer, name, first, last)

    values: Values | UnknownSymbol = {}
    if first <= last:
        values = client.read_page(read, what=what, symbol=series)
    assert not isinstance(values, UnknownSymbol)  # only exchanges list symbols
    return frame(
        INDICES,
        INDEX_PUBLISHERS[series],
        series,
        values,
        column="value",
        of="date",
        known_at=lambda d: d + lag,
    )


def parse_closes(answer: Any, name: str, first: int, last: int) -> Values:
    """Parse an answer: ``chart.result[0]`` with its `timestamp` [s] and ``indicators.quote[0].close``.

    Returns
    -------
    dict
        Midnight of the date [ms since 1970] to close; a day without a close, and days outside
        `first .. last`, are left out.

    Raises
    ------
    BadPage
        On anything else, on another series, or on two closes of one date.
    """
    try:
        result = answer["chart"]["result"][0]
        told = result["meta"]["symbol"]
        stamps = result.get("timestamp") or []
        closes = result["indicators"]["quote"][0].get("close") or []
        rows = list(zip(stamps, closes, strict=True))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise BadPage(f"{answer!r:.80}, not a chart of daily closes") from None
    if told != name:
        raise BadPage(f"a chart of {told!r:.40}, not of {name}")
    values: Values = {}
    for stamp, close in rows:
        second, value = number(stamp, int), number(close, float)
        date = None if second is None else second * 1000 // _DAY * _DAY
        if value is not None and (date is None or first <= date <= last):
            put(values, date, round(value, _DECIMALS), first, last)
    return values
