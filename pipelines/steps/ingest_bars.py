"""Fetch the hour's closed bars, ask again for missing ones, and publish what keeps the contract.

The funding of the traded contracts comes with them. A payment that is due waits as the bar does:
once the next bar has closed without it, it was not made (contracts change how often they pay), and
the hour goes on without.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from pipelines import quality
from pipelines.clock import check_as_of, floor_to_grid, format_instant
from pipelines.context import Context, StepReport
from pipelines.errors import SourceUnavailable
from pipelines.ingestion import (
    FundingMarket,
    Market,
    event_results,
    markets,
    merge_rows,
    read_market,
    require_a_market,
    with_funding,
    without_quarantined,
)
from pipelines.quality.funding_checks import payments_due
from pipelines.tables import BARS

# A pipeline that was down this many bars catches up by itself: one page a symbol.
CATCH_UP_BARS = 1000


def ingest_bars(context: Context, as_of: datetime) -> StepReport:
    """Fetch and publish the bars known at `as_of`, and late or restated ones of the last 48 h.

    Reads: the venue; bars, funding, quarantine. Writes: bars (and bars_<timeframe> of extra
    markets), funding of the universe's contracts, quality for what is out of the ordinary,
    quarantine. Re-run: asks again, writes nothing if the venue says the same.

    Raises
    ------
    ConfigError
        If `as_of` is off the grid or in the future, or a symbol is not known to the venue or, where
        the hour is empty, has never had a bar.
    ContractViolation
        If a row breaks its contract, or one older than the restatement window differs: its table
        is left as it was and the refused rows are in `quarantine`.
    SourceUnavailable
        If the venue does not answer, has no bar of this hour yet for any traded symbol, or has not
        told a payment of funding that is due. An hour that is still empty when the next one has
        closed is an outage: noted, and the run goes on.
    """
    check_as_of(as_of, context.settings.timeframe)
    changed, detail = False, {}
    for market in with_funding(markets(context.settings)):
        name = f"{market.venue} {market.what}"
        try:
            published, rows = _ingest_market(context, market, as_of)
        except SourceUnavailable as error:
            if market.traded:
                raise
            # A venue that is only watched must not stop the one that is traded.
            published, rows = _note_silence(context, market, as_of, error), 0
        changed |= published
        detail[name] = rows
    return StepReport("ingest_bars", as_of, changed, {"bars": detail})


def _ingest_market(context: Context, market: Market, as_of: datetime) -> tuple[bool, int]:
    lake, config = context.lake, context.settings.ingest
    end = floor_to_grid(as_of, market.timeframe)
    history = read_market(lake, market, start=end - CATCH_UP_BARS * market.step, end=end)
    start = _window_start(history, end, max(config.repair_hours, config.restatement_hours))
    fetched = market.fetch(context, start=start, end=end)
    events = {
        "duplicates": {symbol: [end] * count for symbol, count in fetched.duplicates.items()},
        "listed": {symbol: [end] for symbol in fetched.unknown},
        "behind": _behind(context, market, history, end),
    }
    for symbol, error in fetched.unknown.items():
        if symbol not in history["symbol"] and not _was_traded(context, market, symbol, end):
            raise error
    rows = without_quarantined(lake, market, fetched.rows, as_of=end)
    if isinstance(market, FundingMarket):
        events["unpaid"] = _unpaid(context, market, rows, history, end)
    else:
        events["outage"] = _outage(context, market, rows, history, end)
    results = quality.validate(market.table, rows, run_known_at=end, venue=market.venue)
    quality.refuse(
        lake,
        market.table,
        rows,
        results,
        as_of=end,
        venue=market.venue,
        remedy="run ingest_bars again after the venue restates, or go on with the next hour",
    )
    standing = history.filter(pl.col("known_at") > start)
    restatement = timedelta(hours=config.restatement_hours)
    merged = merge_rows(market.table, standing, rows, as_of=end, restatement=restatement)
    # Before the rows: were it after, a run killed in between would never tell what it changed.
    noted = quality.add(lake, event_results(market, {**events, **merged.events}, end))
    published = lake.replace(market.table, merged.rows, start=start, end=end, where=market.where)
    return noted or published, int((rows["known_at"] > end - market.bar).sum())


def _was_traded(context: Context, market: Market, symbol: str, end: datetime) -> bool:
    """Tell a delisting, a fact of the hour, from a typing error."""
    rows = context.lake.read(market.table.name, end=end, symbols=[symbol], columns=["venue"])
    return market.venue in rows["venue"]


def _window_start(history: pl.DataFrame, end: datetime, hours: float) -> datetime:
    window = end - timedelta(hours=hours)
    return window if history.is_empty() else min(window, history["known_at"].sort()[-1])


def _behind(
    context: Context, market: Market, history: pl.DataFrame, end: datetime
) -> dict[str, list[datetime]]:
    if not history.is_empty() or not market.traded or not context.lake.exists(market.table.name):
        return {}
    return {quality.ALL: [end - CATCH_UP_BARS * market.step]}


def _outage(
    context: Context, market: Market, bars: pl.DataFrame, history: pl.DataFrame, end: datetime
) -> dict[str, list[datetime]]:
    """Tell an hour that is not there yet, which is waited for, from one that never was.

    Once the next bar has closed too, an hour without any bar is an outage of the venue: a fact that
    the steps after this one can live with.
    """
    known = pl.concat([bars["known_at"], history["known_at"]])
    if not market.traded or (known == end).any():
        return {}
    if context.source_of(market.venue).server_time() >= end + market.step:
        if known.is_empty():
            require_a_market(context, market, end)
        return {quality.ALL: [end]}
    raise SourceUnavailable(
        f"{market.venue} has no {market.timeframe} bar known at {format_instant(end)} for any of "
        f"{len(market.symbols)} symbols yet; nothing was written",
        remedy="run the hour again in a minute; check the venue's clock and status",
    )


def _unpaid(
    context: Context,
    market: FundingMarket,
    rates: pl.DataFrame,
    history: pl.DataFrame,
    end: datetime,
) -> dict[str, list[datetime]]:
    """Tell a payment that is not told yet, which is waited for, from one that was not made."""
    begin = end - market.bar
    bars = context.lake.read(
        BARS.name, start=begin, end=end, symbols=market.symbols, columns=("venue", "symbol")
    )
    trading = set(bars.filter(pl.col("venue") == market.venue)["symbol"])
    known = pl.concat([history.select(rates.columns), rates])
    due = {
        symbol: instant
        for symbol, instant in payments_due(known, start=begin, end=end).items()
        if symbol in trading
    }
    if due and context.source_of(market.venue).server_time() < end + market.bar:
        symbol, instant = next(iter(due.items()))
        raise SourceUnavailable(
            f"{market.venue} has not told the funding of {symbol} due at {format_instant(instant)} "
            f"yet ({len(due)} of {len(market.symbols)} contracts); without it the books would be "
            "wrong",
            remedy="run the hour again in a minute; check the venue's clock and status",
        )
    return {symbol: [instant] for symbol, instant in due.items()}


def _note_silence(
    context: Context, market: Market, as_of: datetime, error: SourceUnavailable
) -> bool:
    end = floor_to_grid(as_of, market.timeframe)
    events = {"source_answers": {quality.ALL: [end]}}
    results = [
        replace(result, observed=error.message) for result in event_results(market, events, end)
    ]
    return quality.add(context.lake, results)
