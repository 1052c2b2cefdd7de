"""Markets of the settings, and how fetched rows meet the rows that stand. Shared by ingest and backfill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from pipelines.clock import format_instant, timeframe_delta
from pipelines.errors import ConfigError, ContractViolation
from pipelines.lake import Lake
from pipelines.quality import CheckResult, row_as_json
from pipelines.settings import Settings
from pipelines.symbols import is_contract
from pipelines.tables import FUNDING, KEY, QUARANTINE, Table, bars_table, bars_table_name

if TYPE_CHECKING:
    from pipelines.context import Context
    from pipelines.sources.exchange import Fetched

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Soft checks that are written only when they happen: a later run that finds all in place leaves them.
EVENTS: dict[str, str] = {
    "restated": "the venue does not change a closed bar",
    "late": "a bar is there at the hour it closes",
    "withdrawn": "a bar that stood is still served by the venue",
    "duplicates": "the venue gives each bar once",
    "listed": "the venue lists the symbol",
    "behind": "no hole between the newest stored bar and this hour's window",
    "source_answers": "the venue answers",
    "source_agrees": "what a source says keeps its contract and agrees with what it said before",
    "outage": "some traded symbol has a bar of the hour",
    "unpaid": "a contract pays when its interval is over",
}
# How often a contract pays at least, at 00, 08 and 16 UTC; many pay more often for a while.
FUNDING_EVERY = timedelta(hours=8)


@dataclass(frozen=True)
class Market:
    """Symbols of one venue at one timeframe, and the table their bars are kept in."""

    venue: str
    timeframe: str
    symbols: tuple[str, ...]
    table: Table
    traded: bool

    @property
    def bar(self) -> timedelta:
        """Length of a bar."""
        return timeframe_delta(self.timeframe)

    @property
    def what(self) -> str:
        """Name what is fetched: the timeframe of bars."""
        return self.timeframe

    @property
    def step(self) -> timedelta:
        """Time from one row to the next."""
        return self.bar

    @property
    def offset(self) -> timedelta:
        """From the grid of `step` since 1970 to the instants at which rows are due."""
        return timedelta(0)

    def floor(self, instant: datetime) -> datetime:
        """Return the last instant at or before `instant` at which a row is due."""
        return instant - (instant - _EPOCH - self.offset) % self.step

    def fetch(
        self,
        context: "Context",
        *,
        start: datetime,
        end: datetime,
        symbols: Sequence[str] | None = None,
    ) -> "Fetched":
        """Fetch the rows with `start < known_at <= end`, of all symbols or those given."""
        chosen = self.symbols if symbols is None else symbols
        source = context.source_of(self.venue)
        return source.fetch_panel(chosen, self.timeframe, start=start, end=end)

    @property
    def where(self) -> dict[str, Sequence[str]]:
        """Select this market's rows in its table."""
        return {"venue": [self.venue], "symbol": list(self.symbols)}


@dataclass(frozen=True)
class FundingMarket(Market):
    """The funding of the contracts of a market; `timeframe` is still that of its bars."""

    @property
    def what(self) -> str:
        """Name what is fetched."""
        return self.table.name

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
        return context.source_of(self.venue).fetch_funding(chosen, start=start, end=end)


def funding_of(market: Market) -> FundingMarket | None:
    """Return the funding of a traded market; None where nothing pays any."""
    contracts = tuple(symbol for symbol in market.symbols if is_contract(symbol))
    if not contracts or not market.traded:
        return None
    return FundingMarket(market.venue, market.timeframe, contracts, FUNDING, market.traded)


def with_funding(markets: Sequence[Market]) -> list[Market]:
    """Return the markets, each followed by its funding where it has any."""
    return [feed for market in markets for feed in (market, funding_of(market)) if feed is not None]


def markets(settings: Settings) -> list[Market]:
    """Return the traded market first, then the extra ones."""
    asked = [(settings.venue, settings.timeframe, settings.universe)]
    asked += [(extra.venue, extra.timeframe, extra.symbols) for extra in settings.extra_markets]
    return [
        Market(
            venue,
            timeframe,
            tuple(symbols),
            bars_table(bars_table_name(timeframe, settings.timeframe)),
            traded=index == 0,
        )
        for index, (venue, timeframe, symbols) in enumerate(asked)
    ]


def read_market(lake: Lake, market: Market, *, start: datetime, end: datetime) -> pl.DataFrame:
    """Read the market's stored rows with `start < known_at <= end`, sorted by key."""
    rows = lake.read(market.table.name, start=start, end=end, symbols=market.symbols)
    return rows.filter(pl.col("venue") == market.venue)


def require_a_market(context: "Context", market: Market, end: datetime) -> None:
    """Refuse a symbol that the venue lists but that has never had a bar, stored or served, by `end`.

    Raises
    ------
    ConfigError
        Naming the symbol; UnknownSymbol if it is not even listed.
    """
    name, wanted = market.table.name, ["venue", "symbol"]
    stored = context.lake.read(name, end=end, symbols=market.symbols, columns=wanted)
    known = set(stored.filter(pl.col("venue") == market.venue)["symbol"].unique())
    source = context.source_of(market.venue)
    for symbol in market.symbols:
        if symbol not in known and not source.has_bars(symbol, market.timeframe, end=end):
            raise ConfigError(
                f"{market.venue} has no {market.timeframe} bar of {symbol} up to "
                f"{format_instant(end)}: the market is empty; nothing was written",
                remedy="take it out of the universe, or choose a later instant",
            )


@dataclass(frozen=True)
class Merged:
    """What a window becomes, and what changed in it.

    Parameters
    ----------
    rows : polars.DataFrame
        Every row the window shall hold, sorted by key.
    events : dict
        Event (a key of `EVENTS`) to symbol to the instants it is about.
    """

    rows: pl.DataFrame
    events: dict[str, dict[str, list[datetime]]]


def merge_rows(
    table: Table,
    standing: pl.DataFrame,
    fetched: pl.DataFrame,
    *,
    as_of: datetime,
    restatement: timedelta,
) -> Merged:
    """Let fetched rows meet the rows of the same window that stand.

    A row that stands and that the venue no longer gives is kept: it was known.

    Parameters
    ----------
    standing, fetched : polars.DataFrame
        In the contract of `table`, the same window and symbols.
    restatement : timedelta
        A row that differs and is not older than this at `as_of` is overwritten.

    Raises
    ------
    ContractViolation
        If an older row differs, naming it, both values and the bound.
    """
    key = list(KEY)
    facts = [name for name in table.schema if name not in table.audit_columns]
    shared = fetched.join(standing, on=key, how="semi")
    restated = shared.join(standing, on=facts, how="anti", nulls_equal=True)
    old = restated.filter(pl.col("known_at") < as_of - restatement)
    if not old.is_empty():
        raise _too_old(table, standing, old, as_of, restatement)
    fresh = fetched.join(standing, on=key, how="anti")
    newest = standing.group_by("symbol").agg(newest=pl.col("known_at").max())
    late = fresh.join(newest, on="symbol").filter(pl.col("known_at") < pl.col("newest"))
    withdrawn = standing.join(fetched, on=key, how="anti")
    kept = standing.join(restated, on=key, how="anti")
    events = {"restated": restated, "late": late, "withdrawn": withdrawn}
    return Merged(
        pl.concat([kept, restated, fresh]).sort(table.key),
        {name: _instants(rows) for name, rows in events.items() if not rows.is_empty()},
    )


def without_quarantined(
    lake: Lake, market: Market, fetched: pl.DataFrame, *, as_of: datetime
) -> pl.DataFrame:
    """Leave out rows that an earlier hour refused and the venue has not restated: they count as missing.

    Raises
    ------
    ContractViolation
        If such a row belongs to this very hour: refused once, it stays refused.
    """
    if fetched.is_empty():
        return fetched
    table, first = market.table, fetched["known_at"].sort()[0]
    refused = lake.read(QUARANTINE.name, start=first - market.step, end=as_of).filter(
        (pl.col("table") == table.name) & (pl.col("venue") == market.venue)
    )
    if refused.is_empty():
        return fetched
    lines = refused.select(*KEY, "reason", pl.col("row").str.split("\n")).explode("row")
    marked = fetched.with_columns(row=row_as_json(table, fetched))
    held = marked.join(lines, on=[*KEY, "row"], how="inner")
    now = held.filter(pl.col("known_at") == as_of)
    if not now.is_empty():
        symbol, reason = now.row(0, named=True)["symbol"], now.row(0, named=True)["reason"]
        raise ContractViolation(
            f"{table.name}: {symbol} known at {format_instant(as_of)} is in quarantine ({reason}) and "
            f"{market.venue} gives the same row again; nothing was written",
            remedy="run ingest_bars again after the venue restates it, or go on with the next hour",
        )
    return marked.join(held, on=[*KEY, "row"], how="anti").drop("row")


def event_results(
    market: Market, events: Mapping[str, Mapping[str, Sequence[datetime]]], as_of: datetime
) -> list[CheckResult]:
    """Return one soft, failed row an event and symbol."""
    return [
        CheckResult(
            table=market.table.name,
            check=name,
            venue=market.venue,
            symbol=symbol,
            known_at=as_of,
            observed=_told(instants),
            bound=EVENTS[name],
            passed=False,
            failing_rows=len(instants),
            hard=False,
        )
        for name, by_symbol in events.items()
        for symbol, instants in by_symbol.items()
    ]


def _instants(rows: pl.DataFrame) -> dict[str, list[datetime]]:
    grouped = rows.sort("symbol", "known_at").group_by("symbol", maintain_order=True)
    return {str(symbol): group["known_at"].to_list() for (symbol,), group in grouped}


def _told(instants: Sequence[datetime]) -> str:
    shown = ", ".join(format_instant(instant) for instant in instants[:5])
    more = f" and {len(instants) - 5} more" if len(instants) > 5 else ""
    return f"{len(instants)}: {shown}{more}"


def _too_old(
    table: Table,
    standing: pl.DataFrame,
    old: pl.DataFrame,
    as_of: datetime,
    restatement: timedelta,
) -> ContractViolation:
    venue_says = old.sort("known_at").row(0, named=True)
    here = (pl.col("symbol") == venue_says["symbol"]) & (
        pl.col("known_at") == venue_says["known_at"]
    )
    stands = standing.filter(here).row(0, named=True)
    differs = ", ".join(
        f"{name} {stands[name]} -> {venue_says[name]}"
        for name in table.schema
        if name not in table.audit_columns and stands[name] != venue_says[name]
    )
    return ContractViolation(
        f"{table.name}: {old.height} rows differ from what the venue gives now, the first "
        f"{venue_says['symbol']} known at {format_instant(venue_says['known_at'])} ({differs}); a row "
        f"older than {restatement / timedelta(hours=1):g} h at {format_instant(as_of)} is not "
        "overwritten; nothing was written",
        remedy="find out which is right; to take the venue's, raise ingest.restatement_hours for one run",
    )
