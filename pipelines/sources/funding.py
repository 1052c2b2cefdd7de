"""Funding that was paid, page after page: parsed exactly, to the second, never a rate to come.

Venues stamp a payment a few milliseconds after its instant: `known_at` is that stamp, floored to the
second. A page starts where the one before it ended, because how often a contract pays changes.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl

from pipelines import clock
from pipelines.errors import ConfigError
from pipelines.sources.client import KLINE_VENUES, UnknownSymbol, VenueClient
from pipelines.sources.pages import BadPage, shown, to_milliseconds
from pipelines.sources.readings import number
from pipelines.tables import FUNDING

PAGE_RATES = 1000
_SECOND = 1000

# Second of the payment [ms since 1970] to rate and mark price.
Rates = dict[int, tuple[float | None, float | None]]


def read_rates(
    client: VenueClient, symbol: str, *, start: datetime, end: datetime, now: datetime
) -> tuple[pl.DataFrame, int] | UnknownSymbol:
    """Read the rates of one contract with `start < known_at <= end` that were paid by `now`.

    Returns
    -------
    polars.DataFrame, int
        In the funding contract, sorted; and how many identical duplicates were dropped. Or why the
        venue does not know the symbol.

    Raises
    ------
    ConfigError
        If the venue's funding is not read.
    ContractViolation
        If a page keeps being wrong: of another market, outside what was asked, contradicting
        itself, not numbers.
    SourceUnavailable
        If the venue does not answer.
    """
    first = to_milliseconds(start) // _SECOND * _SECOND + _SECOND
    last = min(to_milliseconds(end) // _SECOND * _SECOND + _SECOND - 1, to_milliseconds(now))
    rates: Rates = {}
    rows = PAGE_RATES
    duplicates = 0
    while rows >= PAGE_RATES and first <= last:
        page = _read_page(client, symbol, first, last)
        if isinstance(page, UnknownSymbol):
            return page
        found, rows = page
        rates |= found
        duplicates += rows - len(found)
        first = max(found, default=last) + _SECOND
    return _frame(client.venue, symbol, rates), duplicates


def parse_rates(answer: Any, market_id: str, first: int, last: int) -> Rates:
    """Parse one answer: objects of symbol, fundingTime, fundingRate and markPrice.

    Parameters
    ----------
    first, last : int
        Stamps that were asked for, both included [ms since 1970].

    Returns
    -------
    dict
        Second of the payment to rate and mark price; "" and null are None, NaN and infinity stay,
        for the contract to refuse and quarantine to show.

    Raises
    ------
    BadPage
        On rows that are not that, of another market or outside the span, or that disagree.
    """
    if not isinstance(answer, list):
        raise BadPage(f"an answer of {type(answer).__name__}, not a list of rates")
    rates: Rates = {}
    for row in answer:
        if not isinstance(row, dict) or row.get("symbol") != market_id:
            raise BadPage(f"a rate of {row!r:.80}, not of {market_id}")
        stamp = number(row.get("fundingTime"), int)
        if stamp is None or not first <= stamp <= last:
            paid = "at no instant" if stamp is None else shown(stamp)
            raise BadPage(f"a rate paid {paid}, outside the span that was asked")
        values = (number(row.get("fundingRate"), float), number(row.get("markPrice"), float))
        if rates.setdefault(stamp - stamp % _SECOND, values) != values:
            raise BadPage(f"two rates paid {shown(stamp)} that disagree")
    return rates


def _read_page(
    client: VenueClient, symbol: str, first: int, last: int
) -> tuple[Rates, int] | UnknownSymbol:
    send, what = _endpoint(client), f"{symbol} funding of {shown(first)} to {shown(last)}"

    def read() -> tuple[Rates, int]:
        market_id = client.market_id(symbol)
        request = {
            "symbol": market_id,
            "startTime": first,
            "endTime": last,
            "limit": PAGE_RATES,
        }
        answer = client.ask(lambda: send(request), what=what, symbol=symbol)
        return parse_rates(answer, market_id, first, last), len(answer)

    return client.read_page(read, what=what, symbol=symbol)


def _endpoint(client: VenueClient) -> Callable[[dict[str, Any]], Any]:
    if client.klines is None or client.klines.funding is None:
        known = [venue for venue, klines in KLINE_VENUES.items() if klines.funding]
        raise ConfigError(
            f"the funding of {client.venue} is not read, so its contracts are not traded",
            remedy=f"trade contracts on {' or '.join(known)}, spot pairs here",
        )
    send: Callable[[dict[str, Any]], Any] = getattr(client.api, client.klines.funding)
    return send


def _frame(venue: str, symbol: str, rates: Rates) -> pl.DataFrame:
    seconds = sorted(rates)
    instants = pl.Series("known_at", seconds, pl.Int64()).cast(pl.Datetime("ms", "UTC"))
    columns = {"funding_rate": 0, "mark_price": 1}
    return pl.DataFrame(
        [
            instants.cast(FUNDING.schema["known_at"]),
            *(
                pl.Series(name, [rates[second][at] for second in seconds], FUNDING.schema[name])
                for name, at in columns.items()
            ),
        ]
    ).select(
        pl.lit(venue).alias("venue"),
        pl.lit(symbol).alias("symbol"),
        "known_at",
        *columns,
        pl.lit(clock.now(), FUNDING.schema["ingested_at"]).alias("ingested_at"),
    )
