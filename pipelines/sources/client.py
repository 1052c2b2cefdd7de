"""One ccxt client made to our terms: any host, typed errors, patience, and names without a download.

What ccxt raises becomes one of three things: `TransientFailure` (asked again), `UnknownSymbol` or
another `ConfigError` (wrong usage), or `SourceUnavailable` (refused for good).
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import ccxt
import requests

from pipelines import clock
from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable, root_reason
from pipelines.settings import ExchangeConfig
from pipelines.sources.pages import BadPage
from pipelines.sources.retry import (
    CircuitBreaker,
    Clockwork,
    Patience,
    RateLimit,
    TransientFailure,
)
from pipelines.symbols import is_contract, is_linear_perpetual

T = TypeVar("T")

_LONGEST_TOLD = 200
# A page that is wrong is asked for this often before it counts as what the venue holds.
_PAGE_ATTEMPTS = 3
_MARKETS_WEIGHT = 4.0
# Requests a second, where ccxt's own figure exceeds what the venue publishes.
_PACES = {"upbit": 8.0}
# Publishers turn away what does not say that it is a browser.
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"


@dataclass(frozen=True)
class Klines:
    """How a venue's Binance-style kline endpoint is reached through ccxt.

    Parameters
    ----------
    method : str
        ccxt's implicit method.
    api, path : str
        Where ccxt states the endpoint's weight.
    page_bars : int
        Most bars in one answer; more are silently cut.
    market_types : list of str
        Markets to load: one exchangeInfo request instead of four.
    funding : str or None
        ccxt's implicit method of the funding history; None where nothing but spot is traded.
    """

    method: str
    api: str
    path: str
    page_bars: int
    market_types: list[str]
    funding: str | None = None


KLINE_VENUES = {
    "binance": Klines("publicGetKlines", "public", "klines", 1000, ["spot"]),
    "binanceusdm": Klines(
        "fapiPublicGetKlines",
        "fapiPublic",
        "klines",
        1000,
        ["linear"],
        funding="fapiPublicGetFundingRate",
    ),
}


# Publishers of indices, who are no exchanges, and the requests a second they are asked at most.
PUBLISHERS = {"alternative.me": 1.0, "yahoo": 1.0}


class UnknownSymbol(ConfigError):
    """The venue does not list this symbol: a typing error, or a delisting."""


class VenueClient:
    """A venue's API, or a publisher's.

    Parameters
    ----------
    venue : str
        ccxt exchange id, or one of `PUBLISHERS`.
    config : ExchangeConfig
    clockwork : Clockwork
        Where waiting takes its time from.

    Raises
    ------
    ConfigError
        If ccxt does not know the venue.
    """

    def __init__(self, venue: str, config: ExchangeConfig, clockwork: Clockwork) -> None:
        self.venue = venue
        self.klines = KLINE_VENUES.get(venue)
        self.api = _connect(venue, config, self.klines)
        self.api.on_rest_response = self._keep_headers
        self._counts_requests = config.rate_limit_per_minute is not None
        self._answered = threading.local()
        self._loading = threading.Lock()
        self._patience = _patience(venue, config, self.api.rateLimit, clockwork)

    def ask(
        self,
        request: Callable[[], Any],
        *,
        what: str,
        symbol: str = "",
        weight: float = 1.0,
    ) -> Any:
        """Return the answer of `request`, asked again within the bounds of the configuration.

        Parameters
        ----------
        what, symbol : str
            What is asked, and about which symbol, for messages.
        weight : float
            In the venue's own units.

        Raises
        ------
        UnknownSymbol, ConfigError, SourceUnavailable
        """

        def attempt() -> Any:
            self._answered.headers = {}
            try:
                answer = request()
            except ccxt.BadSymbol:
                raise self.unknown(symbol) from None
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

        weight = 1.0 if self._counts_requests else weight
        return self._patience.ask(attempt, weight=weight, what=what)

    def kline_weight(self, klines: Klines, limit: int) -> float:
        """Return what a page of `limit` bars costs, in the venue's units."""
        config = self.api.api[klines.api]["get"][klines.path]
        cost = config if isinstance(config, dict) else {"cost": config}
        asked = (klines.api, "GET", klines.path, {"limit": limit}, cost)
        return float(self.api.calculate_rate_limiter_cost(*asked))

    def markets(self) -> Mapping[str, Any]:
        """Return what the venue lists, by unified symbol; asked once."""
        with self._loading:
            if not self.api.markets:
                self.ask(self.api.load_markets, what="its markets", weight=_MARKETS_WEIGHT)
        listed: Mapping[str, Any] = self.api.markets
        return listed

    def market_id(self, symbol: str) -> str:
        """Return the venue's own name of a kline market, without asking where that can be helped.

        Loading all markets is megabytes, for two names joined. The venue refuses a name that does
        not exist, and the few it spells otherwise are then looked up (`is_respelled`).

        Raises
        ------
        UnknownSymbol
            If it is a contract where spot is traded, or spot where contracts are: joined, both
            have the same name, and another market would answer.
        """
        if self.api.markets is not None and symbol in self.api.markets:
            return str(self.api.markets[symbol]["id"])
        contracts = self.klines is not None and self.klines.funding is not None
        if is_contract(symbol) != contracts or (contracts and not is_linear_perpetual(symbol)):
            raise self.unknown(symbol)
        return _joined(symbol)

    def is_respelled(self, symbol: str) -> bool:
        """Say whether the venue lists `symbol` under another name than its two currencies joined."""
        listed = self.markets().get(symbol)
        return listed is not None and listed["id"] != _joined(symbol)

    def read_page(self, read: Callable[[], T], *, what: str, symbol: str) -> T | UnknownSymbol:
        """Return what `read` makes of a page; one that is wrong is asked for again.

        Returns
        -------
        object
            What `read` returns, or why the venue does not know the symbol.

        Raises
        ------
        ContractViolation
            If the page keeps being wrong.
        """
        trouble = ""
        for _ in range(_PAGE_ATTEMPTS):
            try:
                return read()
            except UnknownSymbol as unknown:
                if not self.is_respelled(symbol):
                    return unknown
            except BadPage as bad:
                trouble = str(bad)
        raise ContractViolation(
            f"{self.venue} answered {what} with {trouble}, {_PAGE_ATTEMPTS} times; "
            "nothing was written",
            remedy="compare with the venue's own chart; run the step again once it is mended",
        )

    def unknown(self, symbol: str) -> UnknownSymbol:
        """Return the error that names the nearest symbol the venue lists."""
        known = [listed for listed in self.markets() if listed != symbol]
        nearest = get_close_matches(symbol, known, n=1, cutoff=0.3)
        return UnknownSymbol(
            f"{self.venue} does not list {symbol!r}",
            remedy=f"did you mean {nearest[0]!r}?" if nearest else "check venue and universe",
        )

    def close(self) -> None:
        """Close the connections."""
        self.api.session.close()

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
        return seconds_to_wait(getattr(self._answered, "headers", {}).get("Retry-After"))


def _connect(venue: str, config: ExchangeConfig, klines: Klines | None) -> Any:
    if venue in PUBLISHERS:
        # What ccxt's exchanges are made of: the session, the errors by status, and no API of its own.
        timeout = round(config.timeout_seconds * 1000)
        return ccxt.Exchange(
            {"enableRateLimit": False, "timeout": timeout, "userAgent": _AGENT, "id": venue}
        )
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
    elif venue in KLINE_VENUES:
        # Binance counts weight by the minute: ten seconds' worth at once and 80 % of the pace
        # afterwards stay below the limit in every minute.
        per_second, burst = 0.8 * 1000 / rate_limit_ms, 10 * 1000 / rate_limit_ms
    else:
        paces = PUBLISHERS | _PACES
        per_second, burst = paces.get(venue, 1000 / rate_limit_ms), 4.0
    return Patience(
        venue,
        max_attempts=config.max_attempts,
        backoff_seconds=config.backoff_seconds,
        max_backoff_seconds=config.max_backoff_seconds,
        rate_limit=RateLimit(per_second, burst, clockwork),
        breaker=CircuitBreaker(config.circuit_failures, config.max_backoff_seconds, clockwork),
        clockwork=clockwork,
    )


def seconds_to_wait(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or the date until which to wait; None if it is neither."""
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
    text = (str(error).strip().splitlines() or [""])[0]
    reason = root_reason(error)
    why = "" if reason in text else f" ({reason})"
    shown = text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}..."
    return f"{type(error).__name__}: {shown}{why}"
