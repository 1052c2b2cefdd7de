"""What is read beside the bars: feeds of rows that are due now and then, and that trading does not wait for.

A feed is a `Market` of `ingestion`, so rows meet those that stand, are quarantined and are backfilled in
the same way. What is its own is when its rows are due: it is asked only then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from pipelines import clock
from pipelines.ingestion import FUNDING_EVERY, Market
from pipelines.quality.funding_checks import payments_due
from pipelines.settings import Settings, SourcesConfig
from pipelines.symbols import is_contract, perpetual_of
from pipelines.tables import FUNDING, INDEX_PUBLISHERS, INDICES, OPEN_INTEREST, PREMIUMS

if TYPE_CHECKING:
    from pipelines.context import Context
    from pipelines.sources.exchange import Fetched

# A symbol without a row for so long is asked for once a day: not listed, or delisted.
LOST = timedelta(days=7)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
# A daily value that is late is asked for every hour at first, then every sixth.
_PRESSING = 6 * _HOUR
_SATURDAY = 5


@dataclass(frozen=True)
class SourceFeed(Market):
    """Rows of one source, one every `step` and `lag` after the instant they are of."""

    lag: timedelta = timedelta(0)

    @property
    def what(self) -> str:
        """Name what is fetched."""
        return self.table.name

    @property
    def offset(self) -> timedelta:
        """From the grid of `step` to the instants at which rows are known."""
        return self.lag % self.step

    def asked(self, history: pl.DataFrame, end: datetime) -> list[str]:
        """Return the symbols of which a row is due at `end` and not in `history`."""
        newest = _newest(history)
        searched = not newest or end.hour == end.minute == 0
        due = self._due(history, end)
        lost = [s for s in self.symbols if s not in newest or newest[s] <= end - LOST]
        return [s for s in self.symbols if (searched if s in lost else s in due)]

    def _due(self, history: pl.DataFrame, end: datetime) -> set[str]:
        newest = _newest(history)
        return {symbol for symbol, known_at in newest.items() if known_at + self.step <= end}


@dataclass(frozen=True)
class FundingFeed(SourceFeed):
    """The funding of perpetuals that are not traded themselves."""

    @property
    def step(self) -> timedelta:
        """The longest time between two payments."""
        return FUNDING_EVERY

    def fetch(
        self,
        context: "Context",
        *,
        start: datetime,
        end: datetime,
        symbols: Sequence[str] | None = None,
    ) -> "Fetched":
        """Fetch the rates that were paid with `start < known_at <= end`."""
        chosen = self.symbols if symbols is None else symbols
        return context.derivatives().fetch_funding(chosen, start=start, end=end)

    def _due(self, history: pl.DataFrame, end: datetime) -> set[str]:
        return set(payments_due(history, start=end - LOST, end=end))


@dataclass(frozen=True)
class OpenInterestFeed(SourceFeed):
    """The open interest of perpetuals, hour by hour."""

    def fetch(
        self,
        context: "Context",
        *,
        start: datetime,
        end: datetime,
        symbols: Sequence[str] | None = None,
    ) -> "Fetched":
        """Fetch the readings with `start < known_at <= end` that the venue still serves."""
        from pipelines.sources.open_interest import read_open_interest

        chosen = self.symbols if symbols is None else symbols
        venue = context.derivatives()
        return venue.fetch_series(
            read_open_interest, self.table, chosen, start=start, end=end, lag=self.lag
        )


@dataclass(frozen=True)
class PremiumFeed(SourceFeed):
    """The premium index of perpetuals, hour by hour."""

    def fetch(
        self,
        context: "Context",
        *,
        start: datetime,
        end: datetime,
        symbols: Sequence[str] | None = None,
    ) -> "Fetched":
        """Fetch the premiums with `start < known_at <= end`."""
        from pipelines.sources.premium import read_premiums

        chosen = self.symbols if symbols is None else symbols
        venue = context.derivatives()
        return venue.fetch_series(read_premiums, self.table, chosen, start=start, end=end)


@dataclass(frozen=True)
class DailyFeed(SourceFeed):
    """Values of dates, `lag` after the date begins; of dates in `pauses` (0 is Monday) there are none."""

    pauses: tuple[int, ...] = ()

    @property
    def step(self) -> timedelta:
        """A day."""
        return _DAY

    def _due(self, history: pl.DataFrame, end: datetime) -> set[str]:
        found = set()
        for symbol, known_at in _newest(history).items():
            following = known_at + _DAY
            while (following - self.lag).weekday() in self.pauses:
                following += _DAY
            late = end - following
            if timedelta(0) <= late < _PRESSING or (late >= _PRESSING and end.hour % 6 == 0):
                found.add(symbol)
        return found


@dataclass(frozen=True)
class FearGreedFeed(DailyFeed):
    """The Fear & Greed index."""

    def fetch(
        self,
        context: "Context",
        *,
        start: datetime,
        end: datetime,
        symbols: Sequence[str] | None = None,
    ) -> "Fetched":
        """Fetch the values with `start < known_at <= end`; there is one series."""
        from pipelines.sources.exchange import Fetched
        from pipelines.sources.fear_greed import read_fear_greed

        del symbols
        host = _host(context.settings, context.settings.sources.fear_greed_url)
        client, now = context.publisher(self.venue), clock.now()
        return Fetched(read_fear_greed(client, host, start=start, end=end, now=now, lag=self.lag))


@dataclass(frozen=True)
class MacroFeed(DailyFeed):
    """Daily closes of VIX and dollar index."""

    def fetch(
        self,
        context: "Context",
        *,
        start: datetime,
        end: datetime,
        symbols: Sequence[str] | None = None,
    ) -> "Fetched":
        """Fetch the closes with `start < known_at <= end`."""
        from pipelines.sources.exchange import Fetched
        from pipelines.sources.macro import read_closes

        host = _host(context.settings, context.settings.sources.macro_url)
        client = context.publisher(self.venue)
        chosen = self.symbols if symbols is None else symbols
        frames = [
            read_closes(client, host, series, start=start, end=end, lag=self.lag)
            for series in chosen
        ]
        return Fetched(pl.concat([INDICES.empty(), *frames]).sort(INDICES.key))


def source_feeds(settings: Settings, symbols: Sequence[str] | None = None) -> list[SourceFeed]:
    """Return the feeds of the enabled sources; those of perpetuals for `symbols`, by default all traded."""
    return list(_feeds(settings, settings.universe if symbols is None else symbols))


def _feeds(settings: Settings, symbols: Sequence[str]) -> Iterator[SourceFeed]:
    sources: SourcesConfig = settings.sources
    venue, enabled = sources.derivatives_venue, sources.enabled
    contracts = tuple(dict.fromkeys(perpetual_of(symbol) for symbol in symbols))
    # What contracts that are traded pay is waited for, and comes with their bars.
    paid = {s for s in symbols if is_contract(s)} if settings.venue == venue else set()
    beside = tuple(contract for contract in contracts if contract not in paid)
    if "funding" in enabled and beside:
        yield FundingFeed(venue, "1h", beside, FUNDING, traded=False)
    if "premium" in enabled:
        yield PremiumFeed(venue, "1h", contracts, PREMIUMS, traded=False)
    # Last of its venue: it is not on the host that trades, and a venue that fails is not asked on.
    if "open_interest" in enabled:
        lag = timedelta(minutes=sources.open_interest_lag_minutes)
        yield OpenInterestFeed(venue, "1h", contracts, OPEN_INTEREST, traded=False, lag=lag)
    if "fear_greed" in enabled:
        lag = timedelta(hours=sources.fear_greed_lag_hours)
        yield FearGreedFeed(
            INDEX_PUBLISHERS["FEAR_GREED"], "1h", ("FEAR_GREED",), INDICES, traded=False, lag=lag
        )
    if "macro" in enabled:
        lag = timedelta(hours=sources.macro_lag_hours)
        yield MacroFeed(
            INDEX_PUBLISHERS["VIX"],
            "1h",
            ("DXY", "VIX"),
            INDICES,
            traded=False,
            lag=lag,
            pauses=(_SATURDAY, 6),
        )


def _newest(history: pl.DataFrame) -> dict[str, datetime]:
    return dict(history.group_by("symbol").agg(pl.col("known_at").max()).iter_rows())


def _host(settings: Settings, own: str) -> str:
    return (settings.sources.base_url or settings.exchange.base_url or own).rstrip("/")
