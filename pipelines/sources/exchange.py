"""A venue's public REST API through ccxt: closed bars, server time, symbols, trading filters.

Binance's own kline endpoints are used where ccxt has them, because they give all twelve columns;
every other venue answers through `fetch_ohlcv`. Pages are cut by time windows here: ccxt's own
pagination loses rows, and venues silently cut what exceeds their limit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

import ccxt
import polars as pl

from pipelines import clock
from pipelines.clock import timeframe_delta
from pipelines.errors import ConfigError, SourceUnavailable
from pipelines.settings import ExchangeConfig
from pipelines.sources.client import UnknownSymbol, VenueClient
from pipelines.sources.funding import read_rates
from pipelines.sources.pages import (
    CANDLE_COLUMNS,
    KLINE_COLUMNS,
    Page,
    parse_page,
    split_pages,
    to_milliseconds,
)
from pipelines.sources.retry import Clockwork
from pipelines.symbols import is_contract
from pipelines.tables import BARS, FUNDING, Table

T = TypeVar("T")
# Reads one contract: (client, symbol, start=, end=, now=, ...) to its rows and how many were duplicates.
ReadSeries = Callable[..., tuple[pl.DataFrame, int] | UnknownSymbol]

_DEFAULT_PAGE_BARS = 100


@dataclass(frozen=True)
class MarketFilters:
    """What an order must respect; zero means the venue states no bound.

    Parameters
    ----------
    lot : float
        Smallest step of quantity [base].
    tick : float
        Smallest step of price [quote].
    minimum_notional : float
        Smallest order value [quote].
    """

    lot: float
    tick: float
    minimum_notional: float


@dataclass(frozen=True)
class Fetched:
    """Rows of several symbols, and what happened on the way.

    Parameters
    ----------
    rows : polars.DataFrame
        In the contract of their table, sorted by key.
    duplicates : dict
        Symbol to the number of identical rows that were dropped; only where above zero.
    unknown : dict
        Symbol to the reason why the venue does not know it.
    """

    rows: pl.DataFrame
    duplicates: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, UnknownSymbol] = field(default_factory=dict)


class ExchangeSource:
    """One venue.

    Parameters
    ----------
    venue : str
        ccxt exchange id.
    config : ExchangeConfig
    clockwork : Clockwork
        Where waiting takes its time from.

    Raises
    ------
    ConfigError
        If ccxt does not know the venue.
    """

    def __init__(
        self, venue: str, config: ExchangeConfig, clockwork: Clockwork | None = None
    ) -> None:
        self.venue = venue
        self._parallel = config.parallel_requests
        self._client = VenueClient(venue, config, clockwork or Clockwork())
        self._klines = self._client.klines
        self._server_time: datetime | None = None

    def fetch_bars(
        self, symbol: str, timeframe: str, *, start: datetime, end: datetime
    ) -> pl.DataFrame:
        """Fetch the closed bars with `start < known_at <= end`.

        Returns
        -------
        polars.DataFrame
            In the bars contract, sorted; bars the venue does not have are missing.

        Raises
        ------
        UnknownSymbol
            A `ConfigError` naming the nearest symbol the venue lists.
        ContractViolation
            If a page keeps being wrong: outside what was asked, off the grid, contradicting
            itself, not numbers.
        SourceUnavailable
            If the venue does not answer.
        """
        fetched = self.fetch_panel([symbol], timeframe, start=start, end=end)
        if fetched.unknown:
            raise fetched.unknown[symbol]
        return fetched.rows

    def fetch_panel(
        self, symbols: Sequence[str], timeframe: str, *, start: datetime, end: datetime
    ) -> Fetched:
        """Fetch several symbols at once, `parallel_requests` at a time; see `fetch_bars`.

        A symbol the venue does not know is reported in the result, not raised.
        """
        step = self._step(timeframe)
        end = min(end, self._closed_until(end))
        limit = self._page_bars()
        pages = [p for s in symbols for p in split_pages(s, start, end, step, limit)]
        if self._klines is None and pages:
            self._client.markets()
        answers = self._map(lambda page: self._page(page, timeframe, step), pages)
        frames, duplicates, unknown = [], dict[str, int](), dict[str, UnknownSymbol]()
        for page, answer in zip(pages, answers, strict=True):
            if isinstance(answer, UnknownSymbol):
                unknown[page.symbol] = answer
                continue
            rows, dropped = answer
            frames.append(rows.with_columns(symbol=pl.lit(page.symbol)))
            if dropped:
                duplicates[page.symbol] = duplicates.get(page.symbol, 0) + dropped
        return Fetched(self._in_contract(frames, step), duplicates, unknown)

    def fetch_funding(self, symbols: Sequence[str], *, start: datetime, end: datetime) -> Fetched:
        """Fetch the funding with `start < known_at <= end` that was paid; spot pairs have none.

        Raises
        ------
        ConfigError, ContractViolation, SourceUnavailable
            As `sources.funding.read_rates`.
        """
        return self.fetch_series(read_rates, FUNDING, symbols, start=start, end=end)

    def fetch_series(
        self,
        read: ReadSeries,
        table: Table,
        symbols: Sequence[str],
        *,
        start: datetime,
        end: datetime,
        **options: Any,
    ) -> Fetched:
        """Fetch what `read` reads of each contract, `parallel_requests` at a time; nothing of spot pairs.

        Parameters
        ----------
        read : callable
            `sources.funding.read_rates` and its like; `options` are handed on to it.
        """
        contracts = [symbol for symbol in symbols if is_contract(symbol)]
        if not contracts:
            return Fetched(table.empty())
        now = self._closed_until(end)
        answers = self._map(
            lambda symbol: read(self._client, symbol, start=start, end=end, now=now, **options),
            contracts,
        )
        frames, duplicates, unknown = [table.empty()], dict[str, int](), {}
        for symbol, answer in zip(contracts, answers, strict=True):
            if isinstance(answer, UnknownSymbol):
                unknown[symbol] = answer
                continue
            rows, dropped = answer
            frames.append(rows)
            if dropped:
                duplicates[symbol] = dropped
        return Fetched(pl.concat(frames).sort(table.key), duplicates, unknown)

    def server_time(self) -> datetime:
        """Return the venue's clock, or this machine's where the venue has no time endpoint."""
        if self._client.api.has["fetchTime"]:
            milliseconds = self._client.ask(self._client.api.fetch_time, what="the time")
            if not isinstance(milliseconds, int):
                raise SourceUnavailable(
                    f"{self.venue} gave {milliseconds!r:.40} as its time",
                    remedy="check exchange.base_url",
                )
            time = datetime.fromtimestamp(milliseconds / 1000, UTC)
        else:
            time = clock.now()
        self._server_time = time
        return time

    def has_bars(self, symbol: str, timeframe: str, *, end: datetime) -> bool:
        """Say whether the venue has any bar of `symbol` known at or before `end`.

        Raises
        ------
        UnknownSymbol, SourceUnavailable
            As `fetch_bars`.
        """
        step = self._step(timeframe)
        opened = end - step
        if self._klines is None:
            self._client.markets()
            since = opened - self._page_bars() * step
            page = Page(symbol, since, opened)
        else:
            page = Page(symbol, datetime(2010, 1, 1, tzinfo=UTC), opened)
        answer = self._page(page, timeframe, step, newest_only=True)
        if isinstance(answer, UnknownSymbol):
            raise answer
        return answer[0].height > 0

    def check_symbols(self, symbols: Iterable[str]) -> None:
        """Refuse symbols the venue does not list.

        Raises
        ------
        UnknownSymbol
            Naming the nearest symbol it does list.
        """
        for symbol in symbols:
            if symbol not in self._client.markets():
                raise self._client.unknown(symbol)

    def filters(self, symbols: Iterable[str]) -> dict[str, MarketFilters]:
        """Return the trading filters of each symbol; `UnknownSymbol` as `check_symbols`."""
        symbols = list(symbols)
        self.check_symbols(symbols)
        return {symbol: self._filters_of(self._client.markets()[symbol]) for symbol in symbols}

    def close(self) -> None:
        """Close the connections."""
        if "_pool" in self.__dict__:
            self._pool.shutdown(wait=True, cancel_futures=True)
            del self.__dict__["_pool"]
        self._client.close()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._parallel, thread_name_prefix=self.venue)

    def _map(self, function: Callable[[T], Any], requests: Sequence[T]) -> list[Any]:
        if len(requests) < 2 or self._parallel == 1:
            return [function(request) for request in requests]
        futures = [self._pool.submit(function, request) for request in requests]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def _page(
        self, page: Page, timeframe: str, step: timedelta, *, newest_only: bool = False
    ) -> tuple[pl.DataFrame, int] | UnknownSymbol:
        klines = self._klines is not None
        columns = KLINE_COLUMNS if klines else CANDLE_COLUMNS

        def read() -> tuple[pl.DataFrame, int]:
            answer = self._answer(page, timeframe, step, newest_only=newest_only)
            return parse_page(answer, page, columns=columns, step=step, clip=not klines)

        return self._client.read_page(read, what=page.what, symbol=page.symbol)

    def _answer(self, page: Page, timeframe: str, step: timedelta, *, newest_only: bool) -> Any:
        limit = 1 if newest_only else (page.last_open - page.first_open) // step + 1
        since = to_milliseconds(page.first_open)
        if self._klines is None:
            return self._client.ask(
                lambda: self._client.api.fetch_ohlcv(page.symbol, timeframe, since, limit),
                what=page.what,
                symbol=page.symbol,
            )
        request = {
            "symbol": self._client.market_id(page.symbol),
            "interval": self._client.api.timeframes[timeframe],
            "limit": limit,
            "startTime": since,
            "endTime": to_milliseconds(page.last_open + step) - 1,
        }
        if newest_only:
            del request["startTime"]
        send = getattr(self._client.api, self._klines.method)
        return self._client.ask(
            lambda: send(request),
            what=page.what,
            symbol=page.symbol,
            weight=self._client.kline_weight(self._klines, limit),
        )

    def _closed_until(self, end: datetime) -> datetime:
        # The venue's clock only moves on: once it has passed `end`, it need not be read again.
        if self._server_time is None or self._server_time < end:
            return self.server_time()
        return self._server_time

    def _step(self, timeframe: str) -> timedelta:
        offered = self._client.api.timeframes or {}
        if timeframe not in offered:
            raise ConfigError(
                f"{self.venue} has no {timeframe} bars", remedy=f"use one of {', '.join(offered)}"
            )
        return timeframe_delta(timeframe)

    def _page_bars(self) -> int:
        if self._klines is not None:
            return self._klines.page_bars
        features = (self._client.api.features or {}).get("spot") or {}
        limit = (features.get("fetchOHLCV") or {}).get("limit")
        return int(limit) if limit else _DEFAULT_PAGE_BARS

    def _filters_of(self, market: Mapping[str, Any]) -> MarketFilters:
        decimals = self._client.api.precisionMode == ccxt.DECIMAL_PLACES

        def step(value: float | None) -> float:
            if value is None:
                return 0.0
            return float(10 ** -int(value)) if decimals else float(value)

        notional = market["limits"]["cost"]["min"]
        return MarketFilters(
            lot=step(market["precision"]["amount"]),
            tick=step(market["precision"]["price"]),
            minimum_notional=float(notional) if notional is not None else 0.0,
        )

    def _in_contract(self, frames: list[pl.DataFrame], step: timedelta) -> pl.DataFrame:
        if not frames:
            return BARS.empty()
        return (
            pl.concat(frames)
            .with_columns(
                venue=pl.lit(self.venue),
                known_at=pl.col("open_time") + step,
                ingested_at=pl.lit(clock.now(), BARS.schema["ingested_at"]),
            )
            .select(*BARS.schema)
            .sort(BARS.key)
        )
