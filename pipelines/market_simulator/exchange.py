"""One simulated exchange, as every dialect of the REST API sees it: a market, a clock, faults."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.market_simulator.bars import (
    CLOSE,
    DAY,
    FUNDING_INTERVAL,
    HOUR,
    MINUTE,
    Bars,
    Market,
    Request,
    Times,
    Values,
)
from pipelines.market_simulator.clock import SimulatedClock
from pipelines.market_simulator.faults import Faults
from pipelines.market_simulator.instruments import Instrument

INTERVALS = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "1h": HOUR,
    "4h": 4 * HOUR,
    "1d": DAY,
}


class VenueError(Exception):
    """An answer that refuses, with the venue's own status and body (JSON text)."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status, self.body = status, body


class SimulatedExchange:
    """What the dialects read.

    Parameters
    ----------
    market : Market
    clock : SimulatedClock
    faults : Faults
    """

    def __init__(self, market: Market, clock: SimulatedClock, faults: Faults) -> None:
        self.market, self.clock, self.faults = market, clock, faults
        self._by_id = {(item.exchange, item.id): item for item in market.instruments}

    def listed(self, exchange: str, now: int) -> list[Instrument]:
        """Return the markets that `exchange` knows at `now`, delisted ones included."""
        return [
            item
            for item in self.market.instruments
            if item.exchange == exchange and self._is_known(item, now)
        ]

    def find(self, exchange: str, market_id: str, now: int) -> Instrument | None:
        """Return the market called `market_id`, or None if it is not known at `now`."""
        item = self._by_id.get((exchange, market_id))
        return item if item is not None and self._is_known(item, now) else None

    def is_trading(self, instrument: Instrument, now: int) -> bool:
        """Say whether the market is open at `now`."""
        return now < self._end(instrument)

    def bars(self, path: str, instrument: Instrument, timeframe: int, request: Request) -> Bars:
        """Return one page of bars as the faults of the script leave it."""
        now = request.now
        end = self._end(instrument)

        def look(request: Request) -> Bars:
            found = self.market.bars(instrument, timeframe, request)
            return found.take(found.open_time < end)

        current = Request(now - now % timeframe, now, 1, True, now)
        return self.faults.on_bars(look(request), path, instrument, now, lambda: look(current))

    def funding(self, path: str, instrument: Instrument, request: Request) -> tuple[Times, Values]:
        """Return one page of the funding paid by now, as the faults of the script leave it."""
        now, end = request.now, self._end(instrument)
        times, rates = self.market.funding(instrument, now)
        inside = (times >= request.first) & (times <= request.last) & (times < end)

        def as_bars(times: Times, rates: Values) -> Bars:
            values = np.full((9, len(times)), np.nan)
            values[CLOSE] = rates
            return Bars(times, values, FUNDING_INTERVAL)

        # The rate that is forming, a hundredth of a basis point above the last: what `unfinished` shows.
        coming = now - now % FUNDING_INTERVAL + FUNDING_INTERVAL
        told = self.faults.on_bars(
            as_bars(times[inside], rates[inside]),
            path,
            instrument,
            now,
            lambda: as_bars(np.array([coming]), rates[-1:] + 1e-6),
        )
        # The oldest or newest rows of the range, in whatever order a fault gives them.
        order = np.argsort(told.open_time, kind="stable")
        chosen = order[-request.limit :] if request.newest else order[: request.limit]
        page = told.take(np.sort(chosen))
        return page.open_time, page.values[CLOSE]

    def _end(self, instrument: Instrument) -> int:
        end = 2**62 if instrument.delisted_at is None else instrument.delisted_at
        fault = self.faults.delisting(instrument)
        return end if fault is None else min(end, fault.at)

    def _is_known(self, instrument: Instrument, now: int) -> bool:
        fault = self.faults.delisting(instrument)
        gone = fault is not None and fault.options["gone"] and now >= fault.at
        return now >= instrument.listed_at and not gone


Query = Mapping[str, str]


@dataclass(frozen=True)
class Endpoint:
    """One GET of a dialect.

    Parameters
    ----------
    path : str
        Starlette route; its path parameters join the query.
    answer : callable
        ``(exchange, query, now) -> JSON text``; raises `VenueError`. `now` is in ms since 1970.
    weight : callable
        ``query -> request weight`` against the dialect's limit.
    symbol_key : str
        The query's key that names a market.
    """

    path: str
    answer: Callable[[SimulatedExchange, Query, int], str]
    weight: Callable[[Query], int] = lambda _query: 1
    symbol_key: str = "symbol"


@dataclass(frozen=True)
class Dialect:
    """One venue's REST API and its rate limit of `limit` weight in `window` seconds."""

    name: str
    endpoints: tuple[Endpoint, ...]
    limit: int
    window: float
    headers: Callable[[int, int], dict[str, str]]
    too_many: Callable[[int], str]


class RateLimiter:
    """Counts weight in fixed windows of real time, as the venues do."""

    def __init__(self, limit: int, window: float) -> None:
        self.limit, self._window = limit, window
        self._began, self.used = time.monotonic(), 0

    def charge(self, weight: int) -> float | None:
        """Count `weight`; return None, or the seconds until the window ends if it is exhausted."""
        elapsed = time.monotonic() - self._began
        if elapsed >= self._window:
            self._began += elapsed // self._window * self._window
            self.used = 0
            elapsed %= self._window
        self.used += weight
        return self._window - elapsed if self.used > self.limit else None
