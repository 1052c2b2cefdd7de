"""A venue's public REST API through ccxt: closed bars, server time, symbols, trading filters.

Binance's own kline endpoints are used where ccxt has them, because they give all twelve columns;
every other venue answers through `fetch_ohlcv`. Pages are cut by time windows here: ccxt's own
pagination loses rows, and venues silently cut what exceeds their limit.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import ccxt
import polars as pl
import requests

from pipelines import clock
from pipelines.clock import timeframe_delta
from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.settings import ExchangeConfig
from pipelines.sources.pages import (
    CANDLE_COLUMNS,
    KLINE_COLUMNS,
    BadPage,
    Page,
    parse_page,
    split_pages,
    to_milliseconds,
)
from pipelines.sources.retry import (
    CircuitBreaker,
    Clockwork,
    Patience,
    RateLimit,
    TransientFailure,
)
from pipelines.tables import BARS

# A page that is wrong is asked for this often before it counts as what the venue holds.
_PAGE_ATTEMPTS = 3
_DEFAULT_PAGE_BARS = 100


@dataclass(frozen=True)
class _Klines:
    """A venue that speaks Binance's kline endpoint."""

    method: str
    weight_path: tuple[str, str]
    page_bars: int
    market_types: list[str]


_KLINE_VENUES = {
    "binance": _Klines("publicGetKlines", ("public", "klines"), 1000, ["spot"]),
    "binanceusdm": _Klines("fapiPublicGetKlines", ("fapiPublic", "klines"), 1000, ["linear"]),
}


class UnknownSymbol(ConfigError):
    """The venue does not list this symbol: a typing error, or a delisting."""


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
class FetchedBars:
    """Bars of several symbols, and what happened on the way.

    Parameters
    ----------
    bars : polars.DataFrame
        In the bars contract, sorted by key.
    duplicates : dict
        Symbol to the number of identical bars that were dropped; only where above zero.
    unknown : dict
        Symbol to the reason why the venue does not know it.
    """

    bars: pl.DataFrame
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
        self._config = config
        self._klines = _KLINE_VENUES.get(venue)
        self._client = _client(venue, config, self._klines)
        self._answered = threading.local()
        self._client.on_rest_response = self._keep_headers
        self._loading = threading.Lock()
        self._server_time: datetime | None = None
        self._patience = _patience(venue, config, self._client.rateLimit, clockwork or Clockwork())

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
        return fetched.bars

    def fetch_panel(
        self, symbols: Sequence[str], timeframe: str, *, start: datetime, end: datetime
    ) -> FetchedBars:
        """Fetch several symbols at once, `parallel_requests` at a time; see `fetch_bars`.

        A symbol the venue does not know is reported in the result, not raised.
        """
        step = self._step(timeframe)
        end = min(end, self._closed_until(end))
        limit = self._page_bars()
        pages = [p for s in symbols for p in split_pages(s, start, end, step, limit)]
        if self._klines is None and pages:
            self._markets()
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
        return FetchedBars(self._in_contract(frames, step), duplicates, unknown)

    def server_time(self) -> datetime:
        """Return the venue's clock; the answer's Date header where the venue has no time endpoint."""
        if self._client.has["fetchTime"]:
            milliseconds = self._ask(self._client.fetch_time, what="the time")
            if not isinstance(milliseconds, int):
                raise SourceUnavailable(
                    f"{self.venue} gave {milliseconds!r:.40} as its time",
                    remedy="check exchange.base_url",
                )
            time = datetime.fromtimestamp(milliseconds / 1000, UTC)
        else:
            # No endpoint: the machine's clock, with which the venue's own candles are cut anyway.
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
            self._markets()
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
            if symbol not in self._markets():
                raise self._unknown(symbol)

    def filters(self, symbols: Iterable[str]) -> dict[str, MarketFilters]:
        """Return the trading filters of each symbol; `UnknownSymbol` as `check_symbols`."""
        symbols = list(symbols)
        self.check_symbols(symbols)
        return {symbol: self._filters_of(self._markets()[symbol]) for symbol in symbols}

    def close(self) -> None:
        """Close the connections."""
        if "_pool" in self.__dict__:
            self._pool.shutdown(wait=True, cancel_futures=True)
            del self.__dict__["_pool"]
        self._client.session.close()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._config.parallel_requests, thread_name_prefix=self.venue)

    def _map(self, function: Callable[[Page], Any], pages: Sequence[Page]) -> list[Any]:
        if len(pages) < 2 or self._config.parallel_requests == 1:
            return [function(page) for page in pages]
        futures = [self._pool.submit(function, page) for page in pages]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def _page(
        self, page: Page, timeframe: str, step: timedelta, *, newest_only: bool = False
    ) -> tuple[pl.DataFrame, int] | UnknownSymbol:
        trouble = ""
        for _ in range(_PAGE_ATTEMPTS):
            try:
                answer = self._answer(page, timeframe, step, newest_only=newest_only)
                klines = self._klines is not None
                columns = KLINE_COLUMNS if klines else CANDLE_COLUMNS
                return parse_page(answer, page, columns=columns, step=step, clip=not klines)
            except UnknownSymbol as unknown:
                if not self._is_respelled(page.symbol):
                    return unknown
            except BadPage as bad:
                trouble = str(bad)
        raise ContractViolation(
            f"{self.venue} answered {page.what} with {trouble}, {_PAGE_ATTEMPTS} times; "
            "nothing was written",
            remedy="compare with the venue's own chart; run the step again once it is mended",
        )

    def _answer(self, page: Page, timeframe: str, step: timedelta, *, newest_only: bool) -> Any:
        limit = 1 if newest_only else (page.last_open - page.first_open) // step + 1
        since = to_milliseconds(page.first_open)
        if self._klines is None:
            return self._ask(
                lambda: self._client.fetch_ohlcv(page.symbol, timeframe, since, limit),
                what=page.what,
                symbol=page.symbol,
            )
        request = {
            "symbol": self._market_id(page.symbol),
            "interval": self._client.timeframes[timeframe],
            "limit": limit,
            "startTime": since,
            "endTime": to_milliseconds(page.last_open + step) - 1,
        }
        if newest_only:
            del request["startTime"]
        send = getattr(self._client, self._klines.method)
        return self._ask(
            lambda: send(request),
            what=page.what,
            symbol=page.symbol,
            weight=self._weight(self._klines, limit),
        )

    def _ask(
        self,
        request: Callable[[], Any],
        *,
        what: str,
        symbol: str | None = None,
        weight: float = 1.0,
    ) -> Any:
        def attempt() -> Any:
            self._answered.headers = {}
            try:
                answer = request()
            except ccxt.BadSymbol:
                raise self._unknown(symbol or "") from None
            except ccxt.OperationFailed as error:
                raise TransientFailure(_told(error), self._retry_after()) from error
            except ccxt.ExchangeError as error:
                raise self._refusal(error, what) from error
            except requests.RequestException as error:
                raise TransientFailure(_told(error)) from error
            if isinstance(answer, str):
                # ccxt hands back the text of an answer that is not whole JSON.
                raise TransientFailure(f"an answer that is not JSON: {answer[:60]!r}")
            return answer

        return self._patience.ask(attempt, weight=weight, what=what)

    def _refusal(self, error: Exception, what: str) -> Exception:
        if isinstance(error.__cause__, requests.RequestException):
            return TransientFailure(_told(error), self._retry_after())
        if isinstance(error, ccxt.BadRequest | ccxt.NotSupported | ccxt.ArgumentsRequired):
            return ConfigError(
                f"{self.venue} refuses {what}: {_told(error)}",
                remedy="check venue, timeframe and symbols",
            )
        return SourceUnavailable(
            f"{self.venue} refuses {what}: {_told(error)}",
            remedy="check exchange.base_url and whether the venue serves this machine's country",
        )

    def _keep_headers(self, *answer: Any) -> str:
        # ccxt's hook for every answer; its own copy of the headers is shared by all threads.
        self._answered.headers = answer[4]
        return str(answer[5]).strip()

    def _retry_after(self) -> float | None:
        return _seconds_to_wait(getattr(self._answered, "headers", {}).get("Retry-After"))

    def _closed_until(self, end: datetime) -> datetime:
        # The venue's clock only moves on: once it has passed `end`, it need not be read again.
        if self._server_time is None or self._server_time < end:
            return self.server_time()
        return self._server_time

    def _step(self, timeframe: str) -> timedelta:
        offered = self._client.timeframes or {}
        if timeframe not in offered:
            raise ConfigError(
                f"{self.venue} has no {timeframe} bars", remedy=f"use one of {', '.join(offered)}"
            )
        return timeframe_delta(timeframe)

    def _page_bars(self) -> int:
        if self._klines is not None:
            return self._klines.page_bars
        features = (self._client.features or {}).get("spot") or {}
        limit = (features.get("fetchOHLCV") or {}).get("limit")
        return int(limit) if limit else _DEFAULT_PAGE_BARS

    def _weight(self, klines: _Klines, limit: int) -> float:
        api, path = klines.weight_path
        config = self._client.api[api]["get"][path]
        cost = config if isinstance(config, dict) else {"cost": config}
        params = {"limit": limit}
        return float(self._client.calculate_rate_limiter_cost(api, "GET", path, params, cost))

    def _market_id(self, symbol: str) -> str:
        # Loading all markets is megabytes on the real venue, for two names joined. The venue refuses
        # an id that does not exist; those few it spells otherwise are then looked up.
        if self._client.markets is not None and symbol in self._client.markets:
            return str(self._client.markets[symbol]["id"])
        return _joined(symbol)

    def _is_respelled(self, symbol: str) -> bool:
        listed = self._markets().get(symbol)
        return listed is not None and listed["id"] != _joined(symbol)

    def _markets(self) -> Mapping[str, Any]:
        with self._loading:
            if not self._client.markets:
                self._ask(self._client.load_markets, what="its markets", weight=20.0)
        markets: Mapping[str, Any] = self._client.markets
        return markets

    def _unknown(self, symbol: str) -> UnknownSymbol:
        known = [listed for listed in self._markets() if listed != symbol]
        nearest = get_close_matches(symbol, known, n=1, cutoff=0.3)
        return UnknownSymbol(
            f"{self.venue} does not list {symbol!r}",
            remedy=f"did you mean {nearest[0]!r}?" if nearest else "check venue and universe",
        )

    def _filters_of(self, market: Mapping[str, Any]) -> MarketFilters:
        decimals = self._client.precisionMode == ccxt.DECIMAL_PLACES

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


def _client(venue: str, config: ExchangeConfig, klines: _Klines | None) -> Any:
    if venue not in ccxt.exchanges:
        nearest = get_close_matches(venue, ccxt.exchanges, n=1)
        raise ConfigError(
            f"venue {venue!r} is not known to ccxt",
            remedy=f"did you mean {nearest[0]!r}?" if nearest else "see ccxt.exchanges",
        )
    options: dict[str, Any] = {"fetchCurrencies": False}
    if klines is not None:
        options["fetchMarkets"] = {"types": klines.market_types}
    client = getattr(ccxt, venue)(
        {
            "enableRateLimit": False,
            "timeout": round(config.timeout_seconds * 1000),
            "options": options,
        }
    )
    if config.base_url:
        client.urls["api"] = _redirected(client.urls["api"], config.base_url.rstrip("/"))
    return client


def _joined(symbol: str) -> str:
    return symbol.split(":", maxsplit=1)[0].replace("/", "")


def _redirected(urls: Any, base: str) -> Any:
    if isinstance(urls, dict):
        return {name: _redirected(url, base) for name, url in urls.items()}
    return base + urlsplit(urls).path


def _patience(
    venue: str, config: ExchangeConfig, rate_limit_ms: float, clockwork: Clockwork
) -> Patience:
    if config.rate_limit_per_minute is not None:
        per_second, burst = config.rate_limit_per_minute / 60, 1.0
    elif venue in _KLINE_VENUES:
        # Binance counts weight by the minute: ten seconds' worth at once and 80 % of the pace
        # afterwards stay below the limit in every minute.
        per_second, burst = 0.8 * 1000 / rate_limit_ms, 10 * 1000 / rate_limit_ms
    else:
        per_second, burst = 1000 / rate_limit_ms, 4.0
    return Patience(
        venue,
        max_attempts=config.max_attempts,
        backoff_seconds=config.backoff_seconds,
        max_backoff_seconds=config.max_backoff_seconds,
        rate_limit=RateLimit(per_second, burst, clockwork),
        breaker=CircuitBreaker(config.circuit_failures, config.max_backoff_seconds, clockwork),
        clockwork=clockwork,
    )


def _seconds_to_wait(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - clock.now()).total_seconds())
    except (TypeError, ValueError):
        return None


def _told(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"
