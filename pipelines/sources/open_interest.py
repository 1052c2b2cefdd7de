"""Open interest of perpetuals, hour by hour, as far back as the venue serves it.

The venue stamps a reading with the hour it is of and publishes it some minutes later: `known_at` is that
hour plus a written lag, so that no hour is traded on what only a faster machine could have had. Binance
serves thirty days; what is older is not asked for, and stays missing.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from pipelines.errors import ConfigError
from pipelines.sources.client import UnknownSymbol, VenueClient
from pipelines.sources.pages import BadPage, shown
from pipelines.sources.readings import Values, frame, number, put, read_pages, stamps_within
from pipelines.tables import OPEN_INTEREST

PAGE_READINGS = 500
# Thirty days are served; a little less is asked, for both clocks move on.
REACH = timedelta(days=30) - timedelta(hours=2)
_HOUR = 3_600_000

Send = Callable[[dict[str, Any]], Any]


def read_open_interest(
    client: VenueClient,
    symbol: str,
    *,
    start: datetime,
    end: datetime,
    now: datetime,
    lag: timedelta,
) -> tuple[pl.DataFrame, int] | UnknownSymbol:
    """Read the open interest of one contract with `start < known_at <= end`.

    Parameters
    ----------
    now : datetime
        The venue's clock, from which its reach counts.
    lag : timedelta
        From the hour of a reading to when it is known.

    Returns
    -------
    polars.DataFrame, int
        In the contract of open_interest, sorted; and how many identical duplicates were dropped. Or
        why the venue does not know the symbol.

    Raises
    ------
    ConfigError, ContractViolation, SourceUnavailable
        As `sources.funding.read_rates`.
    """
    read = partial(_read_page, _endpoint(client))
    earliest = now - REACH
    first, last = stamps_within(max(start - lag, earliest), min(end - lag, now), _HOUR)
    answer = read_pages(
        read, client, symbol, first=first, last=last, step=_HOUR, limit=PAGE_READINGS
    )
    if isinstance(answer, UnknownSymbol):
        return answer
    values, duplicates = answer
    rows = frame(
        OPEN_INTEREST,
        client.venue,
        symbol,
        values,
        column="open_interest",
        of="observed_at",
        known_at=lambda observed: observed + lag,
    )
    return rows, duplicates


def parse_open_interest(answer: Any, market_id: str, first: int, last: int) -> Values:
    """Parse one answer: objects of symbol, timestamp and sumOpenInterest [base].

    Raises
    ------
    BadPage
        On rows that are not that, of another market, off the hour, outside the span, or that disagree.
    """
    if not isinstance(answer, list):
        raise BadPage(f"an answer of {type(answer).__name__}, not a list of open interest")
    values: Values = {}
    for row in answer:
        if not isinstance(row, dict) or row.get("symbol") != market_id:
            raise BadPage(f"an open interest of {row!r:.80}, not of {market_id}")
        stamp = number(row.get("timestamp"), int)
        if stamp is not None and stamp % _HOUR:
            raise BadPage(f"an open interest of {shown(stamp)}, off the hour")
        put(values, stamp, number(row.get("sumOpenInterest"), float), first, last)
    return values


def _read_page(
    send: Send, client: VenueClient, symbol: str, first: int, last: int
) -> tuple[Values, int] | UnknownSymbol:
    what = f"{symbol} open interest of {shown(first)} to {shown(last)}"

    def read() -> tuple[Values, int]:
        market_id = client.market_id(symbol)
        request = {
            "symbol": market_id,
            "period": "1h",
            "startTime": first,
            "endTime": last,
            "limit": PAGE_READINGS,
        }
        answer = client.ask(lambda: send(request), what=what, symbol=symbol)
        return parse_open_interest(answer, market_id, first, last), len(answer)

    return client.read_page(read, what=what, symbol=symbol)


def _endpoint(client: VenueClient) -> Send:
    send: Send | None = getattr(client.api, "fapiDataGetOpenInterestHist", None)
    if send is None:
        raise ConfigError(
            f"the open interest of {client.venue} is not read",
            remedy="set sources.derivatives_venue to binanceusdm, or take open_interest out of "
            "sources.enabled",
        )
    return send
