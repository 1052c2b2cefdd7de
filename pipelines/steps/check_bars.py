"""Look at the hour's bars in the light of the bars before them, and refuse what cannot be."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipelines import quality
from pipelines.clock import check_as_of, floor_to_grid, format_instant
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.ingestion import Market, funding_of, markets, read_market, with_funding
from pipelines.quality import CheckResult, contract_checks
from pipelines.quality.funding_checks import FUNDING_CHECKS, check_funding
from pipelines.quality.page import write_quality_page
from pipelines.quality.series_checks import SERIES_CHECKS, Hour, check_series
from pipelines.tables import BARS, KEY, QUALITY, QUARANTINE

# A week of hours: enough for the volatility before a jump and for gaps somebody may still mend.
WINDOW_BARS = 168
# Holds the two newest payments of any contract, and the first bar of one that has not paid yet.
FUNDING_WINDOW = timedelta(days=7)


def check_bars(context: Context, as_of: datetime) -> StepReport:
    """Check the bars known at `as_of`: contract, freshness, gaps, jumps, silence, cross-checks.

    Reads: bars, funding, quality. Writes: quality; on a failed hard check quarantine, and the failing
    rows leave bars. At midnight, on a refusal and the first time also Great Expectations' Data Docs and
    `<home>/quality/index.html`. Re-run: writes nothing if it sees the same.

    Raises
    ------
    ContractViolation
        If a hard check fails, or no traded bar of this hour stands though it was no outage. A
        contract whose funding has stopped refuses the hour and takes nothing away: its bars are
        right, and the hours are traded once the funding is there.
    """
    check_as_of(as_of, context.settings.timeframe)
    changed, failed, detail = False, list[CheckResult](), dict[str, Any]()
    for market in markets(context.settings):
        wrote, results = _check_market(context, market, as_of)
        changed |= wrote
        failed += [result for result in results if result.hard and not result.passed]
        soft = sum(not r.passed and r.symbol != quality.ALL for r in results)
        detail[f"{market.venue} {market.what}"] = {"checks": len(results), "noticed": soft}
    wrote, unpaid = _check_funding(context, as_of)
    changed |= wrote
    if failed or unpaid or _page_is_due(context, as_of):
        detail["page"] = str(_write_pages(context, as_of))
    if failed:
        raise quality.violation(
            failed[0].table, failed, as_of, "look at quality/index.html; the next hour goes on"
        )
    _require_paid(unpaid, as_of)
    return StepReport("check_bars", as_of, changed, detail)


def _check_market(
    context: Context, market: Market, as_of: datetime
) -> tuple[bool, list[CheckResult]]:
    lake, table = context.lake, market.table
    end = floor_to_grid(as_of, market.timeframe)
    start = end - WINDOW_BARS * market.step
    window = read_market(lake, market, start=start, end=end)
    hour = Hour(table.name, market.venue, market.symbols, window, start, end, market.step)
    newest = hour.newest
    if market.traded and newest.is_empty() and not _was_outage(context, market, end):
        raise ContractViolation(
            f"{table.name} holds no bar known at {format_instant(end)}; nothing was checked",
            remedy=f"run `hourglass ingest-bars --as-of {format_instant(end)}` first",
        )
    _require_not_refused(context, market, newest, end)
    results = [
        *quality.validate(table, newest, run_known_at=end, venue=market.venue, gate=False),
        *check_series(hour),
    ]
    checks = (*contract_checks(table), *SERIES_CHECKS)
    wrote = quality.record(
        lake, results, as_of=end, table=table.name, venue=market.venue, checks=checks
    )
    return _withdraw(context, market, newest, results, end) or wrote, results


def _check_funding(context: Context, as_of: datetime) -> tuple[bool, list[CheckResult]]:
    """Record whether the traded contracts have paid; return those that have not."""
    market = funding_of(markets(context.settings)[0])
    if market is None:
        return False, []
    start, symbols = as_of - FUNDING_WINDOW, market.symbols
    columns = ("venue", "symbol", "known_at")
    bars = context.lake.read(BARS.name, start=start, end=as_of, symbols=symbols, columns=columns)
    rates = read_market(context.lake, market, start=start, end=as_of)
    bars = bars.filter(pl.col("venue") == market.venue)
    results = check_funding(rates, bars, venue=market.venue, as_of=as_of)
    wrote = quality.record(
        context.lake,
        results,
        as_of=as_of,
        table=market.table.name,
        venue=market.venue,
        checks=FUNDING_CHECKS,
    )
    return wrote, [r for r in results if not r.passed and r.symbol != quality.ALL]


def _require_paid(unpaid: Sequence[CheckResult], as_of: datetime) -> None:
    if unpaid:
        told = "; ".join(f"{r.symbol}: {r.observed}" for r in unpaid[:5])
        more = f"; and {len(unpaid) - 5} more" if len(unpaid) > 5 else ""
        raise ContractViolation(
            f"funding as of {format_instant(as_of)}: {told}{more} (bound: {unpaid[0].bound}); the "
            "hour is not traded, for its books would be wrong",
            remedy="backfill once the venue serves it, and run the hour again; or take the contract "
            "out of the universe",
        )


def _was_outage(context: Context, market: Market, end: datetime) -> bool:
    noted = context.lake.read(QUALITY.name, start=end - market.step, end=end)
    here = (pl.col("table") == market.table.name) & (pl.col("venue") == market.venue)
    return not noted.filter(here & (pl.col("check") == "outage")).is_empty()


def _require_not_refused(
    context: Context, market: Market, newest: pl.DataFrame, end: datetime
) -> None:
    """Refuse again what an earlier run of this hour refused and nobody has mended since."""
    refused = context.lake.read(QUARANTINE.name, start=end - market.step, end=end).filter(
        (pl.col("table") == market.table.name)
        & (pl.col("venue") == market.venue)
        & pl.col("symbol").is_in(list(market.symbols))
        & (pl.col("known_at") == end)
    )
    still = refused.join(newest, on=list(KEY), how="anti")
    if not still.is_empty():
        row = still.row(0, named=True)
        raise ContractViolation(
            f"{market.table.name}: {row['symbol']} known at {format_instant(end)} is in quarantine "
            f"({row['reason']})",
            remedy="run ingest_bars again after the venue restates it, or go on with the next hour",
        )


def _withdraw(
    context: Context,
    market: Market,
    newest: pl.DataFrame,
    results: list[CheckResult],
    end: datetime,
) -> bool:
    """Move the bars of symbols that fail a hard check from the table to quarantine."""
    bad = [r for r in results if r.hard and not r.passed and r.symbol != quality.ALL]
    if not bad:
        return False
    reasons = {r.symbol: f"{r.check}: {r.observed}" for r in bad}
    refused = newest.filter(pl.col("symbol").is_in(list(reasons))).with_columns(
        reason=pl.col("symbol").replace_strict(reasons, default=None)
    )
    quality.quarantine(context.lake, market.table, refused)
    kept = newest.filter(~pl.col("symbol").is_in(list(reasons)))
    before = end - market.step
    return context.lake.replace(market.table, kept, start=before, end=end, where=market.where)


def _page_is_due(context: Context, as_of: datetime) -> bool:
    return as_of.hour == as_of.minute == 0 or not _page(context).exists()


def _page(context: Context) -> Path:
    return context.settings.home / "quality" / "index.html"


def _write_pages(context: Context, as_of: datetime) -> Path:
    from pipelines.quality.expectations import write_data_docs

    frames = {}
    for market in with_funding(markets(context.settings)):
        end = floor_to_grid(as_of, market.timeframe)
        day = read_market(context.lake, market, start=end - 24 * market.step, end=end)
        frames[f"{market.venue} {market.what}"] = (market.table, day)
    write_data_docs(_page(context).parent / "data_docs", format_instant(as_of), frames)
    return write_quality_page(context, as_of, _page(context))
