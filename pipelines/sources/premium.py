"""The premium index of perpetuals: how far one trades from the index of its spot markets.

Of two ways to a basis, the perpetual's close against the traded pair's close and the venue's own premium
index, the second is read: it has as much history, belongs to no single spot venue (so pairs in another
currency have one too), compares prices of the same instant instead of two last trades, and one request
gives it. An hour's value is the close of its kline, known when it closes.
"""

from datetime import datetime
from typing import Any

import polars as pl

from pipelines.errors import ConfigError
from pipelines.sources.client import UnknownSymbol, VenueClient
from pipelines.sources.pages import BadPage, shown
from pipelines.sources.readings import Values, frame, number, put, read_pages, stamps_within
from pipelines.tables import PREMIUMS

PAGE_READINGS = 1000
_HOUR = 3_600_000
_OPENED, _CLOSE = 0, 4


def read_premiums(
    client: VenueClient, symbol: str, *, start: datetime, end: datetime, now: datetime
) -> tuple[pl.DataFrame, int] | UnknownSymbol:
    """Read the premiums of one contract with `start < known_at <= end` whose hour has closed by `now`.

    Returns
    -------
    polars.DataFrame, int
        In the contract of premiums, sorted; and how many identical duplicates were dropped. Or why
        the venue does not know the symbol.

    Raises
    ------
    ConfigError, ContractViolation, SourceUnavailable
        As `sources.funding.read_rates`.
    """
    first, last = stamps_within(start, min(end, now), _HOUR)
    answer = read_pages(
        _read_page, client, symbol, first=first, last=last, step=_HOUR, limit=PAGE_READINGS
    )
    if isinstance(answer, UnknownSymbol):
        return answer
    values, duplicates = answer
    return frame(PREMIUMS, client.venue, symbol, values, column="premium"), duplicates


def parse_premiums(answer: Any, first: int, last: int) -> Values:
    """Parse one answer, klines of the premium index, to premiums by the instant their hour closed.

    Raises
    ------
    BadPage
        On rows that are not klines on the hour that close inside the span, or that disagree.
    """
    if not isinstance(answer, list):
        raise BadPage(f"an answer of {type(answer).__name__}, not a list of klines")
    values: Values = {}
    for row in answer:
        if not isinstance(row, list) or len(row) <= _CLOSE:
            raise BadPage(f"a premium of {row!r:.80}, not a kline")
        opened = number(row[_OPENED], int)
        if opened is not None and opened % _HOUR:
            raise BadPage(f"a premium that opens {shown(opened)}, off the hour")
        closed = None if opened is None else opened + _HOUR
        put(values, closed, number(row[_CLOSE], float), first, last)
    return values


def _read_page(
    client: VenueClient, symbol: str, first: int, last: int
) -> tuple[Values, int] | UnknownSymbol:
    what = f"{symbol} premiums of {shown(first)} to {shown(last)}"
    send = getattr(client.api, "fapiPublicGetPremiumIndexKlines", None)
    if send is None or client.klines is None:
        raise ConfigError(
            f"the premium index of {client.venue} is not read",
            remedy="set sources.derivatives_venue to binanceusdm, or take premium out of "
            "sources.enabled",
        )
    limit = (last - first) // _HOUR + 1
    weight = client.kline_weight(client.klines, limit)

    def read() -> tuple[Values, int]:
        request = {
            "symbol": client.market_id(symbol),
            "interval": "1h",
            "startTime": first - _HOUR,
            "endTime": last - 1,
            "limit": limit,
        }
        answer = client.ask(lambda: send(request), what=what, symbol=symbol, weight=weight)
        return parse_premiums(answer, first, last), len(answer)

    return client.read_page(read, what=what, symbol=symbol)
