"""What the steps and the ledger make of a span is what one backtest makes of it, and a difference shows."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines import database
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.market_simulator import SyntheticMarket, running_simulator
from pipelines.prove.parity import prove_parity
from pipelines.prove.parity_page import write_parity
from pipelines.settings import load_settings
from pipelines.steps.backfill import backfill
from pipelines.steps.build_features import build_features, feature_names
from pipelines.steps.train import train
from pipelines.tables import features_table

pytestmark = [pytest.mark.slow]

HOUR = timedelta(hours=1)
TRAINED_AT = datetime(2024, 5, 6, tzinfo=UTC)
END = TRAINED_AT + 30 * HOUR
UNIVERSE = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
SMALL = {
    "training.split.windows": 2,
    "training.split.test_days": 4,
    "training.split.train_days": 25,
    "training.split.inner_folds": 2,
    "training.search.trials": 2,
    "training.threads": 1,
}


@pytest.fixture(scope="module")
def context(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A home with fifty days of a market in which something can be foreseen, and a model."""
    market = SyntheticMarket(UNIVERSE, seed=7, signal=0.3)
    with running_simulator(market, now=END + timedelta(minutes=1)) as exchange:
        keys = {
            "home": str(tmp_path_factory.mktemp("parity")),
            "database_url": postgres,
            "universe": list(UNIVERSE),
            "exchange.base_url": exchange.base_url,
            "risk.take_profit_r_multiple": 2.0,
            "risk.trailing_stop_atr_multiple": 3.0,
            **SMALL,
        }
        with Context(load_settings(keys, environ={})) as context, pytest.MonkeyPatch.context() as m:
            suffix = uuid.uuid4().hex[:10]
            m.setattr(database, "DATABASES", tuple(f"{d}_{suffix}" for d in database.DATABASES))
            assert context.databases
            backfill(context, TRAINED_AT - timedelta(days=50), END)
            build_features(context, END)
            train(context, TRAINED_AT)
            yield context


def test_a_replay_through_the_ledger_is_the_backtest_of_its_bars(
    context: Context, tmp_path: Path
) -> None:
    parity = prove_parity(context, TRAINED_AT + HOUR, END)
    assert parity.passed, [book.differences.rows() for book in parity.books]
    assert {book.book for book in parity.books} == {"buy_and_hold", "ema_crossover", "model-1"}
    assert parity.summary["hours"] == 29
    assert parity.summary["fills"] >= 6
    assert all(book.tables["equity"].height == 29 for book in parity.books)
    page = write_parity(parity, tmp_path)
    assert "Backtest and ledger agree" in page.read_text()
    told = json.loads((tmp_path / "parity.json").read_text())
    assert told["passed"] is True
    assert told["summary"] == parity.summary
    curve = pl.read_csv(tmp_path / "ema_crossover" / "equity.csv")
    assert curve.height == 29


def test_an_allocation_is_the_same_both_ways(context: Context) -> None:
    risk = context.settings.risk.model_copy(
        update={
            "allocation": "risk_parity",
            "allocation_lookback_bars": 168,
            "allocation_every_bars": 6,
            "no_trade_band": 0.0,
        }
    )
    settings = context.settings.model_copy(update={"risk": risk})
    with Context(settings, databases=context.databases) as other:
        parity = prove_parity(other, TRAINED_AT + HOUR, END, model="1")
    assert parity.passed, [book.differences.rows() for book in parity.books]
    [model] = [book for book in parity.books if book.book == "model-1"]
    assert model.tables["orders"].height > 0


def test_nothing_of_a_rehearsal_is_left(context: Context) -> None:
    before = context.ledger.books()
    prove_parity(context, END - 3 * HOUR, END, model="none")
    assert context.ledger.books() == before
    assert context.ledger.last_traded_at() is None


def test_a_difference_is_shown_with_its_cause(context: Context) -> None:
    lake, at = context.lake, END - 3 * HOUR
    hour = lake.read("features", start=at - HOUR, end=at)
    mended = hour.with_columns(
        ema_gap_24_96=pl.when(pl.col("symbol") == "ETH/USDT")
        .then(-pl.col("ema_gap_24_96"))
        .otherwise("ema_gap_24_96")
    )
    table = features_table(feature_names(context.settings))
    lake.replace(table, mended, start=at - HOUR, end=at)
    try:
        parity = prove_parity(context, END - 6 * HOUR, END, model="none")
    finally:
        lake.replace(table, hour, start=at - HOUR, end=at)
    assert not parity.passed
    wrong = {book.book: book.differences for book in parity.books}
    assert wrong["buy_and_hold"].is_empty()
    cause = wrong["ema_crossover"]["cause"][0]
    assert cause.startswith("features: ema_gap_24_96 of ETH/USDT is")
    assert cause.endswith("at 2024-05-07T03:00Z")


def test_a_model_is_not_proved_on_what_it_was_trained_on(context: Context) -> None:
    with pytest.raises(ContractViolation, match="version 1 was trained up to 2024-05-06T00:00Z"):
        prove_parity(context, TRAINED_AT - HOUR, END, model="1")


def test_a_span_without_bars_is_refused(context: Context) -> None:
    early = TRAINED_AT - timedelta(days=300)
    with pytest.raises(ContractViolation, match="the lake has 0 bars"):
        prove_parity(context, early, early + HOUR, model="none")


def test_an_empty_span_is_refused(context: Context) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        prove_parity(context, END, END)
