"""Fetch history: resumable, by month and symbol, one commit a chunk of months."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from pipelines import quality
from pipelines.clock import check_as_of, floor_to_grid, format_instant
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.feature_inputs import publish
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
from pipelines.quality import CheckResult
from pipelines.source_feeds import SourceFeed, source_feeds
from pipelines.steps.ingest_sources import note_refusal
from pipelines.tables import QUALITY

Progress = Callable[[int, int, str], None]

CONFIRMED = "gap_confirmed"
_CHUNK_ROWS = 60_000


@dataclass(frozen=True)
class Window:
    """The rows of one calendar month with `start < known_at <= end`."""

    start: datetime
    end: datetime


def backfill(
    context: Context,
    start: datetime,
    end: datetime,
    *,
    symbols: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> StepReport:
    """Fetch the bars with `start < known_at <= end` that are not there yet, funding, and the sources.

    A source that is silent or refused is noted, and the others are fetched.

    Reads: the venue, the publishers; bars, funding, open_interest, premiums, indices, quality,
    quarantine. Writes: bars (and bars_<timeframe> of extra markets), those tables, quality, quarantine. Re-run: asks only for months that are incomplete, and not again
    for gaps the venue has confirmed; after a kill it continues with the first chunk not committed.

    Parameters
    ----------
    symbols : sequence of str, optional
        Only these and their sources, and no extra markets; the whole universe and the extra markets by
        default.
    progress : callable, optional
        Called with (done, total, what) as windows are settled.

    Raises
    ------
    ConfigError
        If the span is empty, off the grid or in the future, a symbol is unknown, or a market has
        never had a bar.
    ContractViolation, SourceUnavailable
        As `ingest_bars`; chunks committed before stay.
    """
    check_as_of(end, context.settings.timeframe)
    check_as_of(start, context.settings.timeframe)
    if start >= end:
        raise ConfigError(
            f"the span {format_instant(start)} to {format_instant(end)} is empty",
            remedy="give an --end after --start",
        )
    chosen = _chosen(context, symbols)
    for market in chosen:
        require_a_market(context, market, end)
    feeds = [*with_funding(chosen), *source_feeds(context.settings, symbols)]
    jobs = [(feed, chunk) for feed in feeds for chunk in _chunks(feed, start, end)]
    total = sum(len(chunk) for _, chunk in jobs)
    done, added, refused = 0, {"bars": 0, "rates": 0, "readings": 0}, dict[str, str]()
    for feed, chunk in jobs:
        kind, name = _kind(feed), f"{feed.venue} {feed.what}"
        if progress:
            progress(done, total, f"{name} {chunk[0].start:%Y-%m}")
        try:
            added[kind] += _fill(context, feed, chunk, end)
        except (SourceUnavailable, ContractViolation) as error:
            if not isinstance(feed, SourceFeed):
                raise
            note_refusal(context, feed, end, error)
            refused[name] = error.message
        done += len(chunk)
    if progress:
        progress(done, total, "done")
    detail = {
        "start": format_instant(start),
        "symbols": [symbol for market in chosen for symbol in market.symbols],
        "windows": total,
        "bars_added": added["bars"],
        "rates_added": added["rates"],
        "readings_added": added["readings"],
        "refused": refused,
    }
    return StepReport("backfill", end, any(added.values()), detail)


def _kind(feed: Market) -> str:
    if isinstance(feed, SourceFeed):
        return "readings"
    return "rates" if isinstance(feed, FundingMarket) else "bars"


def _chosen(context: Context, symbols: Sequence[str] | None) -> list[Market]:
    known = markets(context.settings)
    return known if symbols is None else [replace(known[0], symbols=tuple(symbols))]


def _chunks(market: Market, start: datetime, end: datetime) -> Iterator[list[Window]]:
    """Group the months of a span so that a chunk holds some 60 000 rows, at least one month."""
    start, end = market.floor(start), floor_to_grid(end, market.timeframe)
    a_month = timedelta(days=30) // market.step * len(market.symbols)
    size = max(1, _CHUNK_ROWS // a_month)
    months = list(_months(start, end))
    for first in range(0, len(months), size):
        yield months[first : first + size]


def _months(start: datetime, end: datetime) -> Iterator[Window]:
    # A bar known exactly at midnight of the first belongs to the month that has just ended.
    while start < end:
        ahead = (start.replace(day=1, hour=0, minute=0, second=0) + timedelta(days=32)).replace(
            day=1
        )
        stop = min(end, ahead)
        yield Window(start, stop)
        start = stop


def _fill(context: Context, market: Market, chunk: list[Window], end: datetime) -> int:
    """Settle one chunk: fetch what is missing, publish it in one commit, note confirmed gaps."""
    lake, first, last = context.lake, chunk[0].start, chunk[-1].end
    standing = read_market(lake, market, start=first, end=last)
    asked = _unsettled(context, market, chunk, standing)
    if not asked:
        return 0
    fetched, events = _fetch(context, market, asked)
    fetched = without_quarantined(lake, market, fetched, as_of=end)
    results = quality.validate(
        market.table, fetched, run_known_at=last, venue=market.venue, full=True
    )
    quality.refuse(
        lake,
        market.table,
        fetched,
        results,
        as_of=last,
        venue=market.venue,
        remedy="run backfill again: it continues, and leaves refused rows out",
    )
    merged = merge_rows(
        market.table,
        standing,
        fetched,
        as_of=end,
        restatement=timedelta(hours=context.settings.ingest.restatement_hours),
    )
    # What lies outside the months that were asked was not withdrawn: nobody asked for it.
    events |= {"restated": merged.events["restated"]} if "restated" in merged.events else {}
    quality.add(lake, event_results(market, events, last))
    publish(
        lake, context.settings, market.table, standing, merged.rows,
        start=first, end=last, where=market.where,
    )  # fmt: skip
    _confirm_gaps(context, market, chunk, asked, merged.rows, end)
    return merged.rows.height - standing.height


def _unsettled(
    context: Context, market: Market, chunk: list[Window], standing: pl.DataFrame
) -> dict[str, list[Window]]:
    """Return symbol to the windows that lack rows the venue has not confirmed to lack."""
    confirmed = _confirmed(context, market, chunk)
    missing = _missing(market, chunk, standing)
    found: dict[str, list[Window]] = {}
    for (symbol, window), count in missing.items():
        if count and confirmed.get((symbol, window.end)) != count:
            found.setdefault(symbol, []).append(window)
    return found


def _missing(
    market: Market, chunk: list[Window], rows: pl.DataFrame
) -> dict[tuple[str, Window], int]:
    """Count the missing rows of every symbol and window: one is due every step, more may be there."""
    edges = [window.end for window in chunk]
    step, offset = (span // timedelta(microseconds=1) for span in (market.step, market.offset))
    on_grid = pl.col("known_at").dt.epoch("us") % step == offset
    counts = (
        rows.filter(on_grid)
        .sort("known_at")
        .join_asof(
            pl.DataFrame({"window": edges}, schema={"window": rows.schema["known_at"]}),
            left_on="known_at",
            right_on="window",
            strategy="forward",
        )
        .group_by("symbol", "window")
        .len()
    )
    held = {(symbol, window): count for symbol, window, count in counts.iter_rows()}
    return {
        (symbol, window): (market.floor(window.end) - market.floor(window.start)) // market.step
        - held.get((symbol, window.end), 0)
        for symbol in market.symbols
        for window in chunk
    }


def _confirmed(
    context: Context, market: Market, chunk: list[Window]
) -> dict[tuple[str, datetime], int]:
    rows = context.lake.read(QUALITY.name, start=chunk[0].start, end=chunk[-1].end).filter(
        (pl.col("check") == CONFIRMED)
        & (pl.col("table") == market.table.name)
        & (pl.col("venue") == market.venue)
    )
    return {
        (symbol, known_at): count
        for symbol, known_at, count in rows.select("symbol", "known_at", "failing_rows").iter_rows()
    }


def _fetch(
    context: Context, market: Market, asked: dict[str, list[Window]]
) -> tuple[pl.DataFrame, dict[str, dict[str, list[datetime]]]]:
    """Ask for every symbol from its first to its last unsettled window, equal spans together."""
    spans: dict[tuple[datetime, datetime], list[str]] = {}
    for symbol, windows in asked.items():
        spans.setdefault((windows[0].start, windows[-1].end), []).append(symbol)
    frames, duplicates = [market.table.empty()], dict[str, list[datetime]]()
    for (start, end), symbols in spans.items():
        fetched = market.fetch(context, start=start, end=end, symbols=symbols)
        if not isinstance(market, SourceFeed):
            for error in fetched.unknown.values():
                raise error
        frames.append(fetched.rows)
        duplicates |= {symbol: [end] * count for symbol, count in fetched.duplicates.items()}
    rows = pl.concat(frames).sort(market.table.key)
    return rows, ({"duplicates": duplicates} if duplicates else {})


def _confirm_gaps(
    context: Context,
    market: Market,
    chunk: list[Window],
    asked: dict[str, list[Window]],
    rows: pl.DataFrame,
    end: datetime,
) -> None:
    """Remember gaps that were asked for and are no younger than the repair window."""
    settled = end - timedelta(hours=context.settings.ingest.repair_hours)
    missing = _missing(market, chunk, rows)
    confirmed = [
        _confirmation(market, symbol, window, missing[(symbol, window)])
        for symbol, windows in asked.items()
        for window in windows
        if missing[(symbol, window)] and window.end <= settled
    ]
    quality.add(context.lake, confirmed)


def _confirmation(market: Market, symbol: str, window: Window, count: int) -> CheckResult:
    return CheckResult(
        table=market.table.name,
        check=CONFIRMED,
        venue=market.venue,
        symbol=symbol,
        known_at=window.end,
        observed=f"{count} rows missing since {format_instant(window.start)}, asked and not there",
        bound="the venue has no more",
        passed=True,
        failing_rows=count,
        hard=False,
    )
