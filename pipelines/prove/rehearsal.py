"""A rehearsal: the hourly steps over a span, in a lake and a ledger of their own.

The lake of a rehearsal is given one hour of bars at a time, so that no step could see a later one even
if it looked. Models are those of the home that is rehearsed; the venue is what is known of it.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from features.registry import required_lookback
from pipelines.clock import format_instant, timeframe_delta
from pipelines.context import Context
from pipelines.database import temporary_database
from pipelines.ingestion import read_market
from pipelines.ledger.terms import held_symbols, known_filters
from pipelines.settings import Settings
from pipelines.source_feeds import source_feeds
from pipelines.sources.exchange import ExchangeSource, MarketFilters
from pipelines.steps.build_features import build_features, feature_names
from pipelines.steps.maintain_lake import maintain_lake
from pipelines.steps.score_bars import score_bars
from pipelines.steps.trade_paper import trade_paper
from pipelines.tables import BARS, FUNDING, Table
from serving.allocation import history_bars_of

# A reading this old may still count at the first bar that is handed over.
_SAID_BEFORE = timedelta(days=30)

Progress = Callable[[int, int, str], None]


class RecordedVenue(ExchangeSource):
    """A venue that answers with the market filters that are known of it, and with nothing else."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.settings.venue, context.settings.exchange)
        self._known = known_filters(context, context.ledger.standings())

    def filters(self, symbols: Iterable[str]) -> dict[str, MarketFilters]:
        """Return the filters of `symbols`."""
        found = {symbol: self._known[symbol] for symbol in symbols}
        return {s: MarketFilters(f.lot, f.tick, f.minimum_notional) for s, f in found.items()}


@contextmanager
def rehearsal(context: Context) -> Iterator[Context]:
    """Yield a context with an empty lake and an empty ledger; both are gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="hourglass-rehearsal-") as folder,
        temporary_database(context.settings, "rehearsal") as ledger,
    ):
        databases = replace(context.databases, ledger=ledger)
        settings = _settings_of(context.settings, Path(folder))
        with Context(settings, databases=databases, source=RecordedVenue(context)) as own:
            yield own


def _settings_of(settings: Settings, home: Path) -> Settings:
    """Return `settings` over an empty local lake, with the models where they are."""
    lake = settings.lake.model_copy(update={"uri": str(home / "lake"), "storage_options": {}})
    mlflow = settings.mlflow.model_copy(update={"artifact_uri": settings.artifact_uri})
    return settings.model_copy(update={"home": home, "lake": lake, "mlflow": mlflow})


def rehearse(
    original: Context,
    own: Context,
    start: datetime,
    end: datetime,
    *,
    model_version: str | None,
    progress: Progress | None = None,
) -> int:
    """Build features, score and trade every `start < hour <= end`; return the hours walked.

    Parameters
    ----------
    original : Context
        Whose bars are handed over.
    own : Context
        The rehearsal's.
    model_version : str, optional
        The model whose book is traded beside the baselines.
    """
    step = timeframe_delta(own.settings.timeframe)
    lookback = required_lookback(feature_names(own.settings))
    lookback = max(lookback, history_bars_of(own.settings.risk))
    for table in (BARS, FUNDING):
        _hand_over(original, own, table, start - lookback * step, start)
    _hand_over_sources(original, own, start - lookback * step - _SAID_BEFORE, start)
    if model_version is not None:
        own.ledger.open_book(
            f"model-{model_version}",
            strategy="model",
            model_version=model_version,
            opened_at=start,
            initial_cash=own.settings.books.initial_cash,
            reason="a rehearsal",
            decided_by="prove parity",
        )
    hours = (end - start) // step
    for index in range(1, hours + 1):
        hour = start + index * step
        _rehearse_hour(original, own, hour, step)
        if progress:
            progress(index, hours, format_instant(hour))
    return hours


def _rehearse_hour(original: Context, own: Context, hour: datetime, step: timedelta) -> None:
    for table in (BARS, FUNDING):
        _hand_over(original, own, table, hour - step, hour)
    _hand_over_sources(original, own, hour - step, hour)
    build_features(own, hour)
    score_bars(own, hour)
    trade_paper(own, hour)
    if hour.timestamp() % timedelta(days=1).total_seconds() == 0:
        maintain_lake(own, hour)


def _hand_over(
    original: Context, own: Context, table: Table, start: datetime, end: datetime
) -> None:
    symbols = sorted(
        {
            *own.settings.universe,
            *(s for b in own.ledger.standings() for s in held_symbols(b.state)),
        }
    )
    frame = original.lake.read(table.name, start=start, end=end, symbols=symbols)
    frame = frame.filter(pl.col("venue") == own.settings.venue)
    if not frame.is_empty():
        where = {"venue": [own.settings.venue], "symbol": symbols}
        own.lake.replace(table, frame, start=start, end=end, where=where)


def _hand_over_sources(original: Context, own: Context, start: datetime, end: datetime) -> None:
    for feed in source_feeds(own.settings):
        frame = read_market(original.lake, feed, start=start, end=end)
        if not frame.is_empty():
            own.lake.replace(feed.table, frame, start=start, end=end, where=feed.where)
