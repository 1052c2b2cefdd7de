"""Profit and loss by where it came from, as a person and a program see it."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from pipelines.attribution_list import read_round_trips
from pipelines.cli import main
from pipelines.context import Context
from pipelines.errors import ContractViolation
from pipelines.settings import load_settings
from pipelines.steps.close_outcomes import close_outcomes
from pipelines.tables import features_table

HOUR = timedelta(hours=1)
SYMBOLS = ("BTC/USDT", "ETH/USDT")
FLAGS = ["regime_calm", "regime_range", "regime_bull", "regime_bear", "regime_storm"]


@pytest.fixture
def context(home: Path, postgres: str, ledger_url: str, lively: Any) -> Iterator[Context]:
    """A home whose one book traded a day; the state of the market is known at its first hour."""
    keys = {"home": str(home), "database_url": postgres, "universe": list(SYMBOLS)}
    with Context(load_settings(keys, environ={})) as context:
        lively.trade(context.ledger, lively.open_model(context.ledger), 1, 24)
        key = {"venue": "binance", "symbol": SYMBOLS, "known_at": lively.START + HOUR}
        states = {name: float(name == "regime_storm") for name in FLAGS}
        table = features_table(FLAGS)
        features = pl.DataFrame(key | states, schema=table.schema)
        context.lake.replace(table, features, start=lively.START, end=lively.START + HOUR)
        yield context


def test_the_parts_are_the_books_profit_in_the_verb_and_on_the_page(
    context: Context,
    lively: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOURGLASS_HOME", str(context.settings.home))
    monkeypatch.setenv("HOURGLASS_DATABASE_URL", str(context.settings.database_url))

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        return int(str(left.value.code)), capfd.readouterr().out

    last = lively.START + 24 * HOUR
    at = ("--as-of", last.isoformat())
    told = json.loads(call("attribution", *at, "--book", "model-1", "--by", "book,symbol,side,regime", "--json")[1])  # fmt: skip
    assert {row["regime"] for row in told} == {"storm", None}
    equity = context.ledger.status(last)["books"][0]["equity"]
    assert sum(float(row["pnl"]) for row in told) == pytest.approx(equity - 100_000.0, abs=1e-8)
    trips = read_round_trips(context, last)
    assert trips.filter(pl.col("regime") == "storm")["signal_at"].unique().to_list() == [
        lively.START + HOUR
    ]
    assert "closed pnl" in call("attribution", *at)[1]
    assert call("attribution", *at, "--book", "nobody")[0] == 2
    assert call("attribution", *at, "--by", "hour")[0] == 2
    page = Path(close_outcomes(context, last).detail["path"]).read_text(encoding="utf-8")
    section = page.split("Where profit and loss came from")[1]
    assert f"{equity - 100_000.0:,.2f}".replace("-", "−") in section
    assert section.count("<td>model-1</td>") == 4


def test_a_ledger_that_lost_a_fill_is_refused(
    context: Context, lively: Any, ledger_url: str
) -> None:
    engine = sa.create_engine(ledger_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("SET session_replication_role = replica"))
        connection.execute(
            sa.text("UPDATE fills SET fee = fee + 0.00000001 WHERE fill_id = (SELECT min(fill_id::text)::uuid FROM fills)")
        )  # fmt: skip
    with pytest.raises(ContractViolation, match="the ledger does not add up: model-1: the equity"):
        read_round_trips(context, lively.START + 24 * HOUR)
