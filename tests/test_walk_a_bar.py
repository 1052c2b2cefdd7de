"""One bar, from the exchange to the ledger: read this first.

BTC/USDT opened at 09:00 and closed at 10:00 on 6 May 2024; nobody could have known it before 10:00.
The tests below follow it in the order in which it lives, through the components that run every
hour: an exchange that speaks Binance's REST API, the ccxt client, the lake, the checks, the features,
a model trained an hour before, its scores, the trading engine and the ledger on PostgreSQL.
The order that is followed is the EMA crossover's: what a model asks for may change with its features.
"""

import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from evaluation.backtest import backtest
from pipelines import database
from pipelines.context import Context
from pipelines.ledger.schema import equity as equity_table
from pipelines.ledger.schema import fills, metadata, orders, postings, risk_events, signals
from pipelines.market_simulator import SyntheticMarket, running_simulator
from pipelines.replay import run_hour
from pipelines.settings import load_settings
from pipelines.steps import DAILY_CHAIN
from pipelines.steps.backfill import backfill
from pipelines.steps.build_features import build_features
from pipelines.steps.train import train
from serving.market import Filters

HOUR = timedelta(hours=1)
CLOSE = datetime(2024, 5, 6, 10, tzinfo=UTC)
TRAINED_AT, NEXT_CLOSE = CLOSE - HOUR, CLOSE + HOUR
HISTORY = timedelta(days=50)
UNIVERSE = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
PERPETUALS = tuple(f"{symbol}:USDT" for symbol in UNIVERSE)
SMALL_TRAINING = {
    "training.split.windows": 2,
    "training.split.test_days": 4,
    "training.split.train_days": 25,
    "training.split.inner_folds": 2,
    "training.search.trials": 2,
    "training.threads": 1,
}


@dataclass(frozen=True)
class World:
    """The exchange's address, and a home that has lived through two hours."""

    exchange: str
    context: Context

    def lake(self, table: str, at: datetime = CLOSE, symbol: str | None = "BTC/USDT") -> Any:
        """Return the rows of one instant; of one symbol, the only row there is, as a mapping."""
        symbols = None if symbol is None else [symbol]
        frame = self.context.lake.read(table, start=at - HOUR, end=at, symbols=symbols)
        return frame if symbol is None else frame.row(0, named=True)

    def ledger(
        self, table: sa.Table, book: str | None = "ema_crossover", **where: Any
    ) -> list[Any]:
        """Return rows of a book, or of all, without the stamp of when they were written."""
        ids = {b.name: b.book_id for b in self.context.ledger.books()}
        conditions = where if book is None else {"book_id": ids[book], **where}
        query = sa.select(*(c for c in table.columns if c.name != "recorded_at")).where(
            *(table.c[name] == value for name, value in conditions.items())
        )
        engine = sa.create_engine(self.context.databases.ledger, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return list(connection.execute(query))


@pytest.fixture(scope="module")
def world(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Fetch the history, train a model at 09:00, then run the hourly chain for 10:00 and 11:00."""
    market = SyntheticMarket((*UNIVERSE, *PERPETUALS), seed=7)
    with running_simulator(market, now=NEXT_CLOSE + timedelta(minutes=1)) as exchange:
        keys = {
            "home": str(tmp_path_factory.mktemp("walk")),
            "database_url": postgres,
            "universe": list(UNIVERSE),
            "exchange.base_url": exchange.base_url,
            **SMALL_TRAINING,
        }
        with Context(load_settings(keys, environ={})) as context:
            with pytest.MonkeyPatch.context() as patch:
                suffix = uuid.uuid4().hex[:10]
                names = tuple(f"{name}_{suffix}" for name in database.DATABASES)
                patch.setattr(database, "DATABASES", names)
                assert context.databases
            backfill(context, TRAINED_AT - HISTORY, TRAINED_AT)
            build_features(context, TRAINED_AT)
            train(context, TRAINED_AT)
            run_hour(context, CLOSE)
            run_hour(context, NEXT_CLOSE)
            yield World(exchange.base_url, context)


def test_1_the_bar_in_the_lake_is_what_the_venue_said(world: World) -> None:
    opened = int((CLOSE - HOUR).timestamp() * 1000)
    asked = f"symbol=BTCUSDT&interval=1h&startTime={opened}&limit=1"
    [said] = httpx.get(f"{world.exchange}/api/v3/klines?{asked}").json()
    assert said[1:6] == [  # open, high, low, close, volume
        "14991.73000000", "15063.44000000", "14974.98000000", "15001.74000000", "10946.91897000"
    ]  # fmt: skip
    assert (said[7], said[8], said[9]) == ("164291058.86149001", 99114, "5074.26326000")
    bar = world.lake("bars")
    del bar["ingested_at"]  # an audit stamp of the wall clock: no step reads it
    assert bar == {
        "venue": "binance",
        "symbol": "BTC/USDT",
        "known_at": CLOSE,
        "open_time": CLOSE - HOUR,
        "open": 14991.73,
        "high": 15063.44,
        "low": 14974.98,
        "close": 15001.74,
        "volume": 10946.91897,
        "quote_volume": 164291058.86149001,
        "trades": 99114,
        "taker_buy_volume": 5074.26326,
    }


def test_2_its_hour_was_checked_before_anything_was_computed_from_it(world: World) -> None:
    checks = world.lake("quality", symbol=None)
    assert checks["passed"].all()
    of_bars = checks.filter(pl.col("table") == "bars")["check"].to_list()
    assert {"contract", "completeness", "freshness", "jump", "quote_volume_agrees"} <= set(of_bars)
    assert world.lake("quarantine", symbol=None).is_empty()


def test_3_its_features_are_formulas_of_bars_up_to_its_close(world: World) -> None:
    past = world.context.lake.read("bars", end=CLOSE, symbols=["BTC/USDT"])["close"].to_numpy()
    returns = np.diff(np.log(past))
    row = world.lake("features")
    assert row["log_return_24"] == pytest.approx(math.log(past[-1] / past[-25]), rel=1e-6)
    assert row["realised_vol_72"] == pytest.approx(returns[-72:].std(ddof=1), rel=1e-6)
    # Beside the bar, what had been said by then: the funding of 08:00, Friday's close of the VIX.
    paid = world.context.lake.read("funding", end=CLOSE, symbols=["BTC/USDT:USDT"]).row(
        -1, named=True
    )
    assert paid["known_at"] == CLOSE - 2 * HOUR
    assert row["funding_level"] == pytest.approx(paid["funding_rate"], rel=1e-6)
    vix = world.context.lake.read("indices", end=CLOSE, symbols=["VIX"]).row(-1, named=True)
    assert (vix["date"].day, vix["known_at"].day) == (3, 4)
    assert row["vix_level"] == pytest.approx(math.log(vix["value"]), rel=1e-6)


def test_4_the_champion_scores_it_and_was_trained_before_it(world: World) -> None:
    version = world.context.ledger.champion_at(CLOSE)
    assert version == "1"
    assert world.context.registry.version_info(version).train_end < CLOSE
    score = world.lake("scores")
    assert score["model_version"] == version
    assert score["p_down"] + score["p_flat"] + score["p_up"] == pytest.approx(1.0, abs=1e-9)
    assert score["lower"] <= score["expected_return"] <= score["upper"]
    # The model's signal: a quarter of the Kelly bet, mu / variance over the horizon.
    variance = world.lake("features")["realised_vol_72"] ** 2 * score["horizon_bars"]
    [signal] = world.ledger(signals, "model-1", known_at=CLOSE, symbol="BTC/USDT")
    assert signal.desired_weight == pytest.approx(0.25 * score["expected_return"] / variance)


def test_5_a_signal_becomes_an_order_once_the_risk_rules_have_cut_it(world: World) -> None:
    assert world.lake("features")["ema_gap_24_96"] > 0
    [signal] = world.ledger(signals, known_at=CLOSE, symbol="BTC/USDT")
    assert signal.desired_weight == 1 / 3
    # One position may bring 30 % of volatility a year; a year has 8,760 hours.
    allowed = 0.30 / math.sqrt(8760) / world.lake("features")["realised_vol_72"]
    cuts = {c.rule: c for c in world.ledger(risk_events, known_at=CLOSE, symbol="BTC/USDT")}
    assert set(cuts) == {"volatility_target", "capital_ramp"}
    cut, ramp = cuts["volatility_target"], cuts["capital_ramp"]
    assert (cut.asked, cut.allowed) == (1 / 3, pytest.approx(allowed))
    # A new book starts with half its size and earns the rest.
    assert (ramp.asked, ramp.allowed) == (cut.allowed, cut.allowed / 2)
    [order] = world.ledger(orders, symbol="BTC/USDT")
    assert (order.known_at, order.valid_until, order.side) == (CLOSE, NEXT_CLOSE, "buy")
    assert order.target_weight == ramp.allowed
    lots = math.floor(allowed / 2 * 100_000 / world.lake("bars")["close"] / 0.00001)
    assert float(order.quantity) == pytest.approx(lots * 0.00001, abs=1e-9)


def test_6_the_order_fills_at_the_next_open_and_pays_slippage_and_fee(world: World) -> None:
    costs = world.context.settings.costs
    bar = world.lake("bars", NEXT_CLOSE)
    [fill] = world.ledger(fills, symbol="BTC/USDT")
    quantity = float(fill.quantity)
    assert (fill.known_at, fill.reference_price) == (NEXT_CLOSE, bar["open"])
    # Half the spread and the square-root impact, sigma after Parkinson, up to the next cent.
    middle = (bar["high"] + bar["low"]) / 2
    sigma = (bar["high"] - bar["low"]) / middle / (2 * math.sqrt(math.log(2)))
    impact = costs.impact_coefficient * sigma * math.sqrt(quantity / bar["volume"])
    price = math.ceil(bar["open"] * (1 + costs.spread_rate / 2 + impact) * 100) / 100
    assert fill.price == pytest.approx(price, abs=1e-8)
    assert float(fill.notional) == pytest.approx(quantity * price, abs=1e-8)
    assert float(fill.fee) == pytest.approx(quantity * price * costs.taker_fee_rate, abs=1e-8)


def test_7_the_fill_is_booked_twice_and_the_book_adds_up(world: World) -> None:
    [fill] = world.ledger(fills, symbol="BTC/USDT")
    entry = world.ledger(postings, entry_id=fill.fill_id)
    amounts = {(p.account, p.asset): p.amount for p in entry}
    assert amounts == {
        ("inventory", "BTC"): fill.quantity,
        ("exchange", "BTC"): -fill.quantity,
        ("cash", "USDT"): -fill.notional - fill.fee,
        ("exchange", "USDT"): fill.notional,
        ("fees", "USDT"): fill.fee,
    }
    for asset in ("BTC", "USDT"):
        assert sum(p.amount for p in entry if p.asset == asset) == 0
    [row] = world.ledger(equity_table, known_at=NEXT_CLOSE)
    spent = sum(f.notional + f.fee for f in world.ledger(fills))
    assert row.cash == 100_000 - spent
    closes = {s: world.lake("bars", NEXT_CLOSE, s)["close"] for s in UNIVERSE}
    held = sum(float(f.quantity) * closes[f.symbol] for f in world.ledger(fills))
    assert float(row.equity) == pytest.approx(float(row.cash) + held, abs=1e-7)
    assert world.context.ledger.verify() == []  # balances, positions, the audit chain, digests


def test_8_the_champion_is_watched_and_the_day_judges_who_may_succeed_it(world: World) -> None:
    (reign,) = world.context.ledger.promotions()
    assert (reign.version, reign.kind, reign.effective_from) == ("1", "first", CLOSE)
    for name in DAILY_CHAIN:
        step = getattr(import_module(f"pipelines.steps.{name}"), name)
        report = step(world.context, NEXT_CLOSE)
        assert report.as_of == NEXT_CLOSE
    # Nobody challenges it yet, so nothing was compared and nothing decided.
    assert report.detail == {
        "outcome": "kept", "champion": "1", "version": None, "effective_from": None, "decisions": [],
    }  # fmt: skip
    questions = set(world.context.lake.read("drift", end=NEXT_CLOSE)["group"])
    assert {"pulse", "features", "decision"} <= questions


def test_9_living_through_it_again_changes_nothing(world: World) -> None:
    def state() -> tuple[dict[str, Any], dict[str, Any]]:
        tables = metadata.sorted_tables
        rows = {table.name: sorted(map(repr, world.ledger(table, None))) for table in tables}
        return {table.name: table.version for table in world.context.lake.describe()}, rows

    before = state()
    assert not train(world.context, TRAINED_AT).changed
    assert not run_hour(world.context, CLOSE)
    assert not run_hour(world.context, NEXT_CLOSE)
    assert state() == before


@pytest.mark.parametrize("book", ["ema_crossover", "buy_and_hold", "model-1"])
def test_10_a_backtest_of_the_same_hours_gives_the_same_fills(world: World, book: str) -> None:
    lake, settings = world.context.lake, world.context.settings
    bars, features, scores = (
        lake.read(table, start=TRAINED_AT, end=NEXT_CLOSE)
        for table in ("bars", "features", "scores")
    )
    filters = world.context.source.filters(UNIVERSE)
    result = backtest(
        bars,
        features,
        scores if book == "model-1" else None,
        costs=settings.costs,
        risk=settings.risk,
        initial_cash=settings.books.initial_cash,
        timeframe=HOUR,
        strategy="model" if book == "model-1" else book,
        filters={s: Filters(f.lot, f.tick, f.minimum_notional) for s, f in filters.items()},
    )
    columns = ("known_at", "symbol", "side", "quantity", "price", "notional", "fee")
    paper = sorted(tuple(getattr(f, c) for c in columns) for f in world.ledger(fills, book))
    theory = sorted(result.fills.select(columns).iter_rows())
    assert len(theory) == len(paper)
    assert theory or book == "model-1"  # a model may have found nothing worth its cost
    for traded, tested in zip(paper, theory, strict=True):
        assert traded[:3] == tested[:3]
        assert [float(x) for x in traded[3:]] == pytest.approx(tested[3:], abs=1e-8, rel=0)
