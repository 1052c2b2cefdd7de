"""Trade every live book, hour by hour, from where each one stands to `as_of`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.feature_inputs import require_what_books_read
from pipelines.ledger import Hour, Standing
from pipelines.ledger.controls import controls_of
from pipelines.ledger.rows import BookHour
from pipelines.ledger.terms import (
    Terms,
    current_terms,
    held_symbols,
    known_filters,
    traded_symbols,
)
from pipelines.quality.refusals import without_refused
from pipelines.symbols import is_contract
from pipelines.tables import FUNDING, KEY
from serving.allocation import history_bars_of
from serving.books import (
    FEATURES_READ,
    SCORES_READ,
    Inputs,
    Scores,
    build_inputs,
    place_scores,
    walk_book,
)
from serving.market import Filters, check_capital
from serving.state import new_state, state_from_json
from serving.tape import FILLS, ORDERS

_BARS_READ = (*KEY, "open", "high", "low", "close", "volume")
_NO_FUNDING = FUNDING.empty()


@dataclass(frozen=True)
class _Span:
    """What the lake says of the hours still to be walked, and as many closes before as a book reads."""

    bars: pl.DataFrame
    funding: pl.DataFrame
    features: pl.DataFrame
    scores: pl.DataFrame
    timeframe: timedelta
    history_bars: int


def trade_paper(context: Context, as_of: datetime) -> StepReport:
    """Walk every live book through the hours it has not traded yet, up to `as_of`.

    Reads: bars, funding, features, scores, and the ledger. Writes: orders, fills, postings, equity,
    risk_events, signals, trades and audit, one transaction an hour; opens the baseline books at the
    first hour. Re-run: an hour that was traded stays as it is, whatever the lake says now.

    A symbol without a bar or a score gets no new order and keeps its stop. An hour in which the
    whole market is silent waits: it is walked with the next hour that has bars. What a person
    decided about a book (`control_book`) holds from the hour it was written for. The book of a model
    that becomes champion in another one's place starts its capital ramp anew.

    Raises
    ------
    ConfigError
        If `as_of` is off the grid or in the future, the universe mixes quote currencies, or the features
        lack what books read.
    ContractViolation
        If a book's cash or positions are not the fold of its postings, or the timeframe has changed.
    SourceUnavailable
        If the database, the lake, or for a new symbol the venue, does not answer.
    """
    check_as_of(as_of, context.settings.timeframe)
    step = timeframe_delta(context.settings.timeframe)
    standings = context.ledger.standings()
    pending = [s for s in standings if s.walked_to < as_of and s.book.is_live(s.walked_to + step)]
    absent = _absent_baselines(context, standings)
    if not pending and not absent:
        return StepReport("trade_paper", as_of, False, {"hours": 0})
    start = min([s.walked_to for s in pending], default=as_of - step)
    span = _read_span(context, start, as_of, standings)
    newest = span.bars.filter(pl.col("known_at") > start).get_column("known_at").max()
    if not isinstance(newest, datetime):
        waiting = f"no bar is known between {format_instant(start)} and {format_instant(as_of)}"
        return StepReport("trade_paper", as_of, False, {"hours": 0, "waiting": waiting})
    require_what_books_read(span.features)
    filters = known_filters(context, standings)
    if newest == as_of:
        _open_baselines(context, absent, as_of - step)
    hours = _hours(start, newest, step)
    traded = [_trade_hour(context, hour, span, filters) for hour in hours]
    done = [detail for detail in traded if detail["books"]]
    detail = {
        "hours": len(done),
        "books": max((d["books"] for d in done), default=0),
        "orders": sum(d["orders"] for d in done),
        "fills": sum(d["fills"] for d in done),
    }
    return StepReport("trade_paper", as_of, bool(done), detail)


def _absent_baselines(context: Context, standings: Sequence[Standing]) -> list[str]:
    present = {s.book.name for s in standings}
    return [name for name in context.settings.books.baselines if name not in present]


def _open_baselines(context: Context, names: Sequence[str], opened_at: datetime) -> None:
    for name in names:
        context.ledger.open_book(
            name,
            strategy=name,
            opened_at=opened_at,
            initial_cash=context.settings.books.initial_cash,
            reason="a baseline to compare every model with",
            decided_by="trade_paper",
        )


def _read_span(
    context: Context, start: datetime, end: datetime, standings: Sequence[Standing]
) -> _Span:
    lake, settings = context.lake, context.settings
    symbols = traded_symbols(context, (h for s in standings for h in held_symbols(s.state)))
    step, history = timeframe_delta(settings.timeframe), history_bars_of(settings.risk)

    def read(table: str, columns: Sequence[str], first: datetime = start) -> pl.DataFrame:
        frame = lake.read(table, start=first, end=end, symbols=symbols, columns=columns)
        return frame.filter(pl.col("venue") == settings.venue)

    models = any(s.book.strategy == "model" for s in standings)
    contracts = any(is_contract(symbol) for symbol in symbols)
    return _Span(
        bars=read("bars", _BARS_READ, start - history * step),
        funding=read("funding", (*KEY, "funding_rate")) if contracts else _NO_FUNDING,
        features=without_refused(lake, read("features", (*KEY, *FEATURES_READ))),
        scores=read("scores", (*KEY, "model_version", *SCORES_READ)) if models else pl.DataFrame(),
        timeframe=step,
        history_bars=history,
    )


def _hours(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    return [start + step * i for i in range(1, (end - start) // step + 1)]


def _trade_hour(
    context: Context, hour: datetime, span: _Span, filters: Mapping[str, Filters]
) -> dict[str, int]:
    """Trade one hour of every book that stands right before it, in one transaction."""
    with context.ledger.hour() as transaction:
        standings = transaction.standings()
        due = [
            s for s in standings if s.walked_to == hour - span.timeframe and s.book.is_live(hour)
        ]
        if not due:
            return {"books": 0, "orders": 0, "fills": 0}
        transaction.check(due)
        shared: dict[tuple[str, ...], Inputs] = {}
        books = []
        for standing in due:
            terms = _agreed_terms(context, transaction, standing, hour, filters)
            if terms.symbols not in shared:
                shared[terms.symbols] = _inputs(span, terms, hour)
            books.append(_walk(standing, terms, shared[terms.symbols], span))
        transaction.write(books)
    used = [book.walk.tape.used for book in books]
    return {
        "books": len(books),
        "orders": int(sum(u[ORDERS] for u in used)),
        "fills": int(sum(u[FILLS] for u in used)),
    }


def _walk(standing: Standing, terms: Terms, inputs: Inputs, span: _Span) -> BookHour:
    book = standing.book
    if standing.state is None:
        state = new_state(len(terms.symbols), book.initial_cash)
        check_capital(inputs.panel, float(book.initial_cash))
    else:
        state = state_from_json(standing.state, terms.symbols)
    scores = _scores(span, inputs, book.model_version) if book.model_version else None
    walk = walk_book(
        book.strategy,
        inputs,
        scores,
        state,
        costs=terms.costs,
        risk=terms.risk,
        controls=controls_of(standing.controls, [inputs.panel.first], standing.promoted),
    )
    capital = book.initial_cash if standing.state is None else None
    return BookHour(book.book_id, book.name, inputs.panel.first, walk, capital)


def _agreed_terms(
    context: Context,
    transaction: Hour,
    standing: Standing,
    hour: datetime,
    filters: Mapping[str, Filters],
) -> Terms:
    """Return the terms of a book, recording them first if the settings have changed."""
    wanted = current_terms(context, standing, filters)
    stored = wanted.as_json()
    if standing.terms == stored:
        return wanted
    if standing.terms is not None and standing.terms["timeframe"] != wanted.timeframe:
        raise ContractViolation(
            f"book {standing.book.name} trades {standing.terms['timeframe']} bars, "
            f"the settings say {wanted.timeframe}",
            remedy="set timeframe back, or use another home for another timeframe",
        )
    reason = "first trade" if standing.terms is None else "the configuration changed"
    transaction.set_terms(standing.book, hour, stored, reason)
    return wanted


def _inputs(span: _Span, terms: Terms, hour: datetime) -> Inputs:
    known_at = pl.col("known_at")
    now, oldest = known_at == hour, hour - span.history_bars * span.timeframe
    bars = span.bars.filter(
        known_at.is_between(oldest, hour), pl.col("symbol").is_in(terms.symbols)
    )
    # What was paid since the bar before is paid in this one.
    paid = span.funding.filter(
        (known_at > hour - span.timeframe) & (known_at <= hour),
        pl.col("symbol").is_in(terms.symbols),
    )
    return build_inputs(
        bars,
        span.features.filter(now),
        timeframe=span.timeframe,
        symbols=terms.symbols,
        first=hour,
        last=hour,
        filters=terms.filters,
        funding=None if paid.is_empty() else paid,
        history_bars=span.history_bars or None,
    )


def _scores(span: _Span, inputs: Inputs, version: str) -> Scores:
    panel = inputs.panel
    mine = (pl.col("known_at") == panel.first) & (pl.col("model_version") == version)
    return place_scores(panel, span.scores.filter(mine))
