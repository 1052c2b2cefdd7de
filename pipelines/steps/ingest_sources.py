"""Fetch what is read beside the bars, where a row of it is due; the hour goes on whatever comes."""

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from pipelines import quality
from pipelines.clock import check_as_of
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation, HourglassError, SourceUnavailable
from pipelines.feature_inputs import publish
from pipelines.ingestion import event_results, merge_rows, read_market, without_quarantined
from pipelines.source_feeds import SourceFeed, source_feeds

# A source that was silent for longer is caught up by a backfill.
REACH = timedelta(days=30)
_REMEDY = "the features go on with what was known; backfill once the source has restated"


def ingest_sources(context: Context, as_of: datetime) -> StepReport:
    """Fetch and publish the rows of every enabled source that are due at `as_of` and known by then.

    A source that is silent, or says what breaks its contract, stops nothing: features go on with what is
    known of it until that is stale, and then without. A row that is asked for brings those of the
    last 48 h along, so what came late or was restated is seen as it is with bars.

    Reads: the venue of the perpetuals, the publishers; funding, open_interest, premiums, indices,
    quarantine. Writes: those tables; quality where a source was silent, was refused or said something out
    of the ordinary; quarantine. Re-run: asks for what is still due, writes nothing if it is not there.

    Raises
    ------
    ConfigError
        If `as_of` is off the grid or in the future, or a venue or publisher is not known.
    """
    check_as_of(as_of, context.settings.timeframe)
    changed, detail = False, {}
    for feed in source_feeds(context.settings):
        history = read_market(context.lake, feed, start=as_of - REACH, end=as_of)
        asked = feed.asked(history, as_of)
        if not asked:
            continue
        try:
            published, rows = _ingest(context, feed, history, asked, as_of)
        except (SourceUnavailable, ContractViolation) as error:
            published, rows = note_refusal(context, feed, as_of, error), 0
        changed |= published
        detail[f"{feed.venue} {feed.what}"] = rows
    return StepReport("ingest_sources", as_of, changed, {"rows": detail})


def _ingest(
    context: Context,
    feed: SourceFeed,
    history: pl.DataFrame,
    asked: list[str],
    end: datetime,
) -> tuple[bool, int]:
    """Fetch one feed and publish it; return whether that changed anything, and how many rows are new."""
    lake, config = context.lake, context.settings.ingest
    usual = end - timedelta(hours=max(config.repair_hours, config.restatement_hours))
    standing = history.filter(pl.col("symbol").is_in(asked))
    newest = standing.group_by("symbol").agg(pl.col("known_at").max())["known_at"]
    start = min([usual, *newest.filter(newest > end - REACH)])
    standing = standing.filter(pl.col("known_at") > start)
    fetched = feed.fetch(context, start=start, end=end, symbols=asked)
    rows = without_quarantined(lake, feed, fetched.rows, as_of=end)
    results = quality.validate(feed.table, rows, run_known_at=end, venue=feed.venue, gate=False)
    quality.refuse(
        lake, feed.table, rows, results, as_of=end, venue=feed.venue, remedy=_REMEDY
    )  # fmt: skip
    restatement = timedelta(hours=config.restatement_hours)
    merged = merge_rows(feed.table, standing, rows, as_of=end, restatement=restatement)
    events = {
        "duplicates": {symbol: [end] * count for symbol, count in fetched.duplicates.items()},
        # A pair need not have a perpetual: said once a day, not whenever it is looked for.
        "listed": {symbol: [end] for symbol in fetched.unknown if end.hour == end.minute == 0},
    }
    noted = quality.add(lake, event_results(feed, {**events, **merged.events}, end))
    where = {"venue": [feed.venue], "symbol": asked}
    published = publish(
        lake, context.settings, feed.table, standing, merged.rows, start=start, end=end, where=where
    )
    return noted or published, merged.rows.height - standing.height


def note_refusal(
    context: Context, feed: SourceFeed, as_of: datetime, error: HourglassError
) -> bool:
    """Write down that a source was silent, or said what it may not; False if that stands already."""
    event = "source_answers" if isinstance(error, SourceUnavailable) else "source_agrees"
    results = event_results(feed, {event: {quality.ALL: [as_of]}}, as_of)
    return quality.add(context.lake, [replace(one, observed=error.message) for one in results])
