"""The proof that backtest and paper trading are one: a span through both, side by side.

One way goes hour by hour through steps and ledger in a rehearsal; the other is one backtest over the
history in the lake. Every order, fill, round trip, risk cut and equity point of both is compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from evaluation.backtest import BacktestResult, backtest
from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.ledger.terms import known_filters, traded_symbols
from pipelines.prove.comparison import (
    DIFFERENCES,
    TABLES,
    Compared,
    differences,
    first_difference,
    side_by_side,
)
from pipelines.prove.rehearsal import Progress, rehearsal, rehearse
from pipelines.tables import KEY
from serving.allocation import history_bars_of
from serving.books import FEATURES_READ, SCORES_READ
from serving.scorer import first_needed, score_after

_BARS_READ = (*KEY, "open", "high", "low", "close", "volume")
# Every row of the ledger is known at an instant; of a round trip it is that of its exit.
_STORED = {"exited_at": "known_at"}
_FOLLOWS = "follows from the first difference of this book"
_ENGINE = (
    "bars, features and scores are the same on both sides up to here: the engine, or what the "
    "ledger wrote of it"
)


@dataclass(frozen=True)
class BookParity:
    """One book both ways: its tables side by side, and what differs.

    Attributes
    ----------
    book : str
    tables : mapping
        Table name to the frame of `side_by_side`.
    differences : polars.DataFrame
        `comparison.DIFFERENCES` and `cause`.
    """

    book: str
    tables: Mapping[str, pl.DataFrame]
    differences: pl.DataFrame


@dataclass(frozen=True)
class Parity:
    """Both ways of every book over `start < known_at <= end`."""

    start: datetime
    end: datetime
    hours: int
    symbols: tuple[str, ...]
    books: tuple[BookParity, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return all(book.differences.is_empty() for book in self.books)

    @property
    def summary(self) -> dict[str, int]:
        """``{"hours", "orders", "fills", "differences"}`` over all books."""

        def rows(table: str) -> int:
            return sum(book.tables[table].height for book in self.books)

        return {
            "hours": self.hours,
            "orders": rows("orders"),
            "fills": rows("fills"),
            "differences": sum(book.differences.height for book in self.books),
        }


@dataclass(frozen=True)
class _Inputs:
    """What both ways are fed with, as one of them saw it."""

    bars: pl.DataFrame
    features: pl.DataFrame
    funding: pl.DataFrame
    scores: pl.DataFrame | None


def prove_parity(
    context: Context,
    start: datetime,
    end: datetime,
    *,
    model: str = "champion",
    progress: Progress | None = None,
) -> Parity:
    """Trade a span through steps and ledger, backtest it, and compare.

    Reads: bars, funding and features of the lake, the model, recorded venue filters.
    Writes: nothing that lasts; the rehearsal has a lake and a ledger of its own.

    Parameters
    ----------
    context : Context
    start, end : datetime
        `start < known_at <= end`.
    model : str
        A model version, ``champion`` (as of `start`; none is no error), or ``none``. The baselines
        are always there.
    progress : callable, optional
        Told (hours done, hours, instant).

    Raises
    ------
    ConfigError
        If the span is empty or off the grid.
    ContractViolation
        If the span has no bars or features, or the model was trained on it.
    """
    settings = context.settings
    for instant in (start, end):
        check_as_of(instant, settings.timeframe)
    if start >= end:
        raise ConfigError(
            f"the span {format_instant(start)} to {format_instant(end)} is empty",
            remedy="give an --end after --start",
        )
    version = _version(context, model, start)
    symbols = traded_symbols(context, ())
    history = _history(context, symbols, start, end, version)
    with rehearsal(context) as own:
        hours = rehearse(context, own, start, end, model_version=version, progress=progress)
        last = own.ledger.last_traded_at() or start
        seen = _read(own, symbols, start, last, version)
        ledger = {name: _ledger_tables(own, name) for name in _books(own)}
    books = []
    for name, tables in ledger.items():
        scores = history.scores if name.startswith("model-") else None
        result = _backtest(context, name, history, scores, symbols, start, last)
        books.append(_compare(name, tables, result, seen, history))
    return Parity(start, end, hours, symbols, tuple(books))


def _version(context: Context, model: str, start: datetime) -> str | None:
    if model == "none":
        return None
    version = context.ledger.champion_at(start) if model == "champion" else model
    if version is None:
        return None
    trained = context.registry.load(version).train_end
    if trained >= start + timeframe_delta(context.settings.timeframe):
        raise ContractViolation(
            f"model version {version} was trained up to {format_instant(trained)}: it cannot have "
            f"traded from {format_instant(start)} on",
            remedy=f"give a --start at or after {format_instant(trained)}, or --model none",
        )
    return version


def _history(
    context: Context, symbols: Sequence[str], start: datetime, end: datetime, version: str | None
) -> _Inputs:
    """Return the lake's span as a backtest reads it; scores are made in one go from its features."""
    inputs = _read(context, symbols, start, end, None)
    keys = inputs.features.select(KEY)
    missing = inputs.bars.select(KEY).join(keys, on=KEY, how="anti")
    if inputs.bars.is_empty() or not missing.is_empty():
        raise ContractViolation(
            f"between {format_instant(start)} and {format_instant(end)} the lake has "
            f"{inputs.bars.height} bars and {missing.height} of them have no features",
            remedy="run `hourglass backfill` and `hourglass build-features` for the span",
        )
    if version is None:
        return inputs
    scorer = context.registry.load(version)
    columns = (*KEY, *scorer.feature_names)
    needed = first_needed(scorer, start)
    wide = context.lake.read("features", start=needed, end=end, symbols=symbols, columns=columns)
    scores = score_after(scorer, wide.filter(pl.col("venue") == context.settings.venue), start)
    return _Inputs(inputs.bars, inputs.features, inputs.funding, _scores_of(scores))


def _read(
    context: Context, symbols: Sequence[str], start: datetime, end: datetime, version: str | None
) -> _Inputs:
    def read(table: str, columns: tuple[str, ...]) -> pl.DataFrame:
        frame = context.lake.read(table, start=start, end=end, symbols=symbols, columns=columns)
        return frame.filter(pl.col("venue") == context.settings.venue)

    scores = None if version is None else _scores_of(read("scores", (*KEY, *SCORES_READ)))
    return _Inputs(
        bars=read("bars", _BARS_READ),
        features=read("features", (*KEY, *FEATURES_READ)),
        funding=read("funding", (*KEY, "funding_rate")),
        scores=scores,
    )


def _scores_of(scores: pl.DataFrame) -> pl.DataFrame:
    return scores.select(*KEY, *SCORES_READ).sort(KEY)


def _backtest(
    context: Context,
    book: str,
    history: _Inputs,
    scores: pl.DataFrame | None,
    symbols: Sequence[str],
    start: datetime,
    last: datetime,
) -> BacktestResult:
    settings = context.settings
    step = timeframe_delta(settings.timeframe)
    until = pl.col("known_at") <= last
    before = start - history_bars_of(settings.risk) * step
    earlier = context.lake.read(
        "bars", start=before, end=start, symbols=symbols, columns=_BARS_READ
    ).filter(pl.col("venue") == settings.venue)
    return backtest(
        pl.concat([earlier, history.bars.filter(until)]).sort("symbol", "known_at"),
        history.features.filter(until),
        None if scores is None else scores.filter(until),
        costs=settings.costs,
        risk=settings.risk,
        initial_cash=settings.books.initial_cash,
        timeframe=step,
        strategy="model" if scores is not None else book,
        symbols=symbols,
        first=start + step,
        last=last,
        filters=known_filters(context, context.ledger.standings()),
        funding=history.funding.filter(until),
    )


def _books(own: Context) -> list[str]:
    return [book.name for book in own.ledger.books()]


def _ledger_tables(own: Context, book: str) -> dict[str, pl.DataFrame]:
    """Return what the rehearsal's ledger says of one book, as frames like a backtest's."""
    engine = sa.create_engine(own.databases.ledger, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return {table.name: _ledger_table(connection, table, book) for table in TABLES}


def _ledger_table(connection: sa.Connection, table: Compared, book: str) -> pl.DataFrame:
    numbers = {*table.amounts, *table.numbers}
    columns = ", ".join(
        f"CAST(t.{c} AS double precision) AS {c}"
        if c in numbers
        else f"t.{_STORED.get(c, c)} AS {c}"
        for c in table.columns
    )
    query = sa.text(
        f"SELECT {columns} FROM {table.name} t JOIN books b USING (book_id) WHERE b.name = :book"
    )
    rows = connection.execute(query, {"book": book}).all()
    schema: dict[str, Any] = {
        c: pl.Datetime("us", "UTC")
        if c.endswith("_at")
        else pl.Float64
        if c in numbers
        else pl.String
        for c in table.columns
    }
    return pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")


def _compare(
    book: str,
    ledger: Mapping[str, pl.DataFrame],
    result: BacktestResult,
    seen: _Inputs,
    history: _Inputs,
) -> BookParity:
    paired = {
        table.name: side_by_side(table, ledger[table.name], getattr(result, table.name))
        for table in TABLES
    }
    found = pl.concat(
        [pl.DataFrame(schema=DIFFERENCES), *(differences(t, paired[t.name]) for t in TABLES)]
    ).sort("known_at", maintain_order=True)
    return BookParity(book, paired, _with_causes(found, seen, history))


def _with_causes(found: pl.DataFrame, seen: _Inputs, history: _Inputs) -> pl.DataFrame:
    """Name the cause of the first difference by what both ways were fed with up to then."""
    if found.is_empty():
        return found.with_columns(cause=pl.lit("", pl.String))
    first = found["known_at"][0]
    until = pl.col("known_at") <= first
    cause = _ENGINE
    for name in ("bars", "funding", "features", "scores"):
        ours, theirs = getattr(seen, name), getattr(history, name)
        if ours is None or theirs is None:
            continue
        met = first_difference(name, KEY, ours.filter(until), theirs.filter(until))
        if met is not None:
            cause = f"{met[1]} at {format_instant(met[0])}"  # type: ignore[arg-type]
            break
    later = pl.when(pl.col("known_at") > first).then(pl.lit(_FOLLOWS))
    return found.with_columns(cause=later.otherwise(pl.lit(cause)))
