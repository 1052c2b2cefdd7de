"""The bars of a backtest, with all that a strategy and the engine read beside them."""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pipelines.clock import format_instant, now, timeframe_delta
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.ledger.terms import known_filters, traded_symbols
from pipelines.quality.refusals import without_refused
from pipelines.tables import FEATURES, KEY
from serving.books import FEATURES_READ
from serving.market import Filters

_BARS_READ = (*KEY, "open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Span:
    """The rows with `start < known_at <= end` of the traded venue and universe.

    `earlier` holds the bars before, as far back as an allocation learns from.
    """

    start: datetime
    end: datetime
    timeframe: timedelta
    symbols: tuple[str, ...]
    earlier: pl.DataFrame
    bars: pl.DataFrame
    features: pl.DataFrame
    funding: pl.DataFrame
    filters: Mapping[str, Filters]

    def panel_terms(self) -> dict[str, Any]:
        """Return the terms of `evaluation.backtest.backtest` that do not differ by configuration."""
        return {
            "timeframe": self.timeframe,
            "symbols": self.symbols,
            "first": self.start + self.timeframe,
            "last": self.end,
            "filters": self.filters,
            "funding": self.funding,
        }

    def bars_with_history(self) -> pl.DataFrame:
        """Return `earlier` and `bars` as one frame in the order of its key."""
        return pl.concat([self.earlier, self.bars]).sort("symbol", "known_at")

    def instants(self) -> pl.Series:
        """Return the instants at which at least one symbol has a bar, sorted."""
        return self.bars.get_column("known_at").unique().sort()


def read_span(context: Context, start: datetime, end: datetime, *, history_bars: int) -> Span:
    """Read the span, and `history_bars` bars of every symbol before it, from the lake.

    Raises
    ------
    ConfigError
        If the span is empty, or a symbol of the universe is nowhere in the lake.
    ContractViolation
        If no bar is known in the span.
    """
    if start >= end:
        raise ConfigError(
            f"the span {format_instant(start)} to {format_instant(end)} is empty",
            remedy="give an --end after --start",
        )
    symbols = traded_symbols(context, ())
    step = timeframe_delta(context.settings.timeframe)
    bars = read_rows(context, "bars", _BARS_READ, start, end, symbols)
    _refuse_unknown(context, symbols, bars)
    if bars.is_empty():
        raise ContractViolation(
            f"no bar is known between {format_instant(start)} and {format_instant(end)}",
            remedy="backfill the span first, or choose one from `hourglass tables`",
        )
    return Span(
        start=start,
        end=end,
        timeframe=step,
        symbols=symbols,
        earlier=read_rows(context, "bars", _BARS_READ, start - history_bars * step, start, symbols),
        bars=bars,
        features=read_rows(context, "features", (*KEY, *FEATURES_READ), start, end, symbols),
        funding=read_rows(context, "funding", (*KEY, "funding_rate"), start, end, symbols),
        filters=known_filters(context, context.ledger.standings()),
    )


def read_rows(
    context: Context,
    table: str,
    columns: Sequence[str],
    start: datetime | None,
    end: datetime,
    symbols: Sequence[str],
) -> pl.DataFrame:
    """Read columns of the traded venue's rows with `start < known_at <= end`.

    Feature rows of an hour that was refused are left out, as everywhere.
    """
    frame = context.lake.read(table, start=start, end=end, symbols=symbols, columns=columns)
    frame = frame.filter(pl.col("venue") == context.settings.venue)
    return without_refused(context.lake, frame) if table == FEATURES.name else frame


def digest_of(*frames: pl.DataFrame) -> str:
    """Return the SHA-256 of all values of the frames: the same rows, the same digest."""
    total = hashlib.sha256()
    for frame in frames:
        for column in frame.get_columns():
            total.update(f"{column.name}:{column.dtype}:{column.len()}".encode())
            total.update(_bytes(column))
    return total.hexdigest()


def _bytes(column: pl.Series) -> bytes:
    if column.dtype == pl.String:
        return "\0".join(column.fill_null("").to_list()).encode()
    return column.is_null().to_numpy().tobytes() + column.to_physical().to_numpy().tobytes()


def _refuse_unknown(context: Context, symbols: Sequence[str], bars: pl.DataFrame) -> None:
    """Refuse a symbol that the lake has never seen; one that was not listed yet has no bars, and is fine."""
    silent = set(symbols) - set(bars.get_column("symbol").unique())
    if not silent:
        return
    stored = context.lake.read("bars", end=now(), columns=("venue", "symbol"))
    known = stored.filter(pl.col("venue") == context.settings.venue).get_column("symbol").unique()
    for symbol in sorted(silent - set(known)):
        nearest = difflib.get_close_matches(symbol, known.to_list(), n=1)
        raise ConfigError(
            f"the lake has no bar of {symbol} on {context.settings.venue}",
            remedy=f"did you mean {nearest[0]}?" if nearest else "backfill it first",
        )
