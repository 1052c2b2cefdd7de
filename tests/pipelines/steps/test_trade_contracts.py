"""Perpetuals end to end: bars and funding over HTTP, features, the books' hours, and their backtest."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from evaluation.backtest import backtest
from pipelines.context import Context
from pipelines.ledger.schema import books, equity, fills, postings
from pipelines.ledger.terms import known_filters
from pipelines.market_simulator import SyntheticMarket, running_simulator
from pipelines.settings import load_settings
from pipelines.steps.backfill import backfill
from pipelines.steps.build_features import build_features
from pipelines.steps.check_bars import check_bars
from pipelines.steps.ingest_bars import ingest_bars
from pipelines.steps.trade_paper import trade_paper

HOUR = timedelta(hours=1)
START = datetime(2024, 6, 1, 5, tzinfo=UTC)
HOURS = 11
END = START + HOURS * HOUR
PAID = [datetime(2024, 6, 1, hour, tzinfo=UTC) for hour in (8, 16)]
CHAIN = (ingest_bars, check_bars, build_features, trade_paper)
UNIVERSE = ["BTC/USDT:USDT", "ETH/USDT:USDT"]


@pytest.fixture
def context(home: Path, postgres: str, ledger_url: str) -> Iterator[Context]:
    """A home that has traded two perpetuals for `HOURS` hours, the paid ones twice."""
    market = SyntheticMarket(UNIVERSE, seed=7)
    with running_simulator(market, now=END + timedelta(minutes=10)) as venue:
        keys = {
            "home": str(home),
            "database_url": postgres,
            "venue": "binanceusdm",
            "universe": UNIVERSE,
            "exchange.base_url": venue.base_url,
        }
        with Context(load_settings(keys, environ={})) as context:
            backfill(context, START - 100 * HOUR, START)
            for hour in range(1, HOURS + 1):
                as_of = START + hour * HOUR
                for step in CHAIN:
                    step(context, as_of)
                if as_of in PAID:
                    assert not any(step(context, as_of).changed for step in CHAIN)
            yield context


def rows(context: Context, query: sa.Select) -> list[tuple]:
    engine = sa.create_engine(context.databases.ledger, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def held_at(context: Context, book: str, instant: datetime) -> dict[str, Decimal]:
    """Return what a book holds of each contract at an instant: the fold of its fills."""
    signed = sa.case((fills.c.side == "buy", fills.c.quantity), else_=-fills.c.quantity)
    query = (
        sa.select(fills.c.symbol, sa.func.sum(signed))
        .join(books, books.c.book_id == fills.c.book_id)
        .where(books.c.name == book, fills.c.known_at <= instant)
        .group_by(fills.c.symbol)
    )
    return dict(rows(context, query))


def paid_at(context: Context, book: str, account: str) -> dict[datetime, Decimal]:
    """Return what a book's account saw of funding, by instant."""
    query = (
        sa.select(postings.c.known_at, sa.func.sum(postings.c.amount))
        .join(books, books.c.book_id == postings.c.book_id)
        .where(books.c.name == book, postings.c.kind == "funding", postings.c.account == account)
        .where(postings.c.asset == "USDT")
        .group_by(postings.c.known_at)
    )
    return dict(rows(context, query))


def backtested(context: Context) -> list[tuple]:
    """Return (known_at, equity, cash) of a backtest of the same hours."""
    lake, settings = context.lake, context.settings
    result = backtest(
        lake.read("bars", start=START, end=END),
        lake.read("features", start=START, end=END),
        None,
        costs=settings.costs,
        risk=settings.risk,
        initial_cash=settings.books.initial_cash,
        timeframe=HOUR,
        strategy="buy_and_hold",
        symbols=UNIVERSE,
        first=START + HOUR,
        last=END,
        filters=known_filters(context, context.ledger.standings()),
        funding=lake.read("funding", start=START, end=END),
    )
    return result.equity.select("known_at", "equity", "cash").rows()


def curve_of(context: Context) -> list[tuple]:
    """Return (known_at, equity, cash) of the book in the ledger."""
    curve = rows(
        context,
        sa.select(equity.c.known_at, equity.c.equity, equity.c.cash)
        .join(books, books.c.book_id == equity.c.book_id)
        .where(books.c.name == "buy_and_hold")
        .order_by(equity.c.known_at),
    )
    assert len(curve) == HOURS
    return [(at, float(value), float(cash)) for at, value, cash in curve]


def test_books_of_perpetuals_pay_the_ingested_funding_as_their_backtest_does(
    context: Context,
) -> None:
    paid = paid_at(context, "buy_and_hold", "funding")
    assert sorted(paid) == PAID
    for instant in PAID:
        held = held_at(context, "buy_and_hold", instant)
        assert set(held) == set(UNIVERSE)
        bars = context.lake.read("bars", start=instant - HOUR, end=instant)
        rates = context.lake.read("funding", start=instant - HOUR, end=instant)
        told = bars.join(rates, on=["venue", "symbol", "known_at"])
        due = sum(
            float(held[symbol]) * close * rate
            for symbol, close, rate in told.select("symbol", "close", "funding_rate").iter_rows()
        )
        assert due != 0
        assert float(paid[instant]) == pytest.approx(due, abs=1e-7)
    cash = paid_at(context, "buy_and_hold", "cash")
    assert cash == {instant: -amount for instant, amount in paid.items()}
    assert curve_of(context) == backtested(context)
