"""The journal and the lots are folded anew, and every kind of tampering has its finding."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.errors import ConfigError
from pipelines.ledger import Ledger
from pipelines.ledger.gains import as_csv

HOUR = timedelta(hours=1)
START = datetime(2024, 6, 1, tzinfo=UTC)


def rows(ledger: Ledger, statement: str) -> list[Any]:
    with ledger._engine.connect() as connection:
        return list(connection.execute(sa.text(statement)))


@pytest.mark.parametrize("funding_rate", [0.0, 0.0004, -0.0007])
def test_long_and_short_round_trips_with_funding_verify_from_nothing(
    funding_rate: float, ledger: Ledger, lively: Any
) -> None:
    book = lively.open_model(ledger)
    lively.trade(ledger, book, 1, 48, symbols=lively.PERPETUALS, funding_rate=funding_rate)
    assert ledger.verify() == []
    sides = {
        row.side: row.n for row in rows(ledger, "SELECT side, count(*) AS n FROM trades GROUP BY 1")
    }
    assert set(sides) == {"long", "short"}
    (funded,) = rows(ledger, "SELECT count(*) FILTER (WHERE funding <> 0) FROM trades")
    assert (funded[0] > 0) == (funding_rate != 0)
    shorts = rows(
        ledger, "SELECT DISTINCT asset FROM postings WHERE account = 'inventory' AND amount < 0"
    )
    assert {asset for (asset,) in shorts} <= set(lively.PERPETUALS)


def test_a_trade_says_why_it_was_entered_and_left(ledger: Ledger, lively: Any) -> None:
    book = lively.open_model(ledger)
    lively.trade(ledger, book, 1, 30)
    newest, *_ = journal = ledger.journal("model-1", 100)
    assert [t["exited_at"] for t in journal] == sorted(
        (t["exited_at"] for t in journal), reverse=True
    )
    assert ledger.journal("model-1", 1) == [newest]
    for trade in journal:
        assert trade["why_in"]["edge"] > 0
        assert trade["why_in"]["target_weight"] > 0
        assert trade["why_in"]["desired_weight"] >= trade["why_in"]["target_weight"]
        assert trade["mae"] <= 0 <= trade["mfe"]
        assert trade["why_out"]["reason"]
    stopped = [t for t in journal if t["why_out"]["kind"] == "stop_loss"]
    assert stopped
    # A first stop two ATR of 1 % away: one R is 2 % of what was invested; costs and gaps come on top.
    assert all(-1.5 < t["r_multiple"] < -0.9 for t in stopped)
    with pytest.raises(ConfigError, match=r"'model-7' does not exist"):
        ledger.journal("model-7", 1)


def test_every_fill_says_what_it_cost_against_the_price_it_was_decided_at(
    ledger: Ledger, lively: Any
) -> None:
    lively.trade(ledger, lively.open_model(ledger), 1, 12)
    found = rows(
        ledger,
        "SELECT f.*, o.reference_price AS decided FROM fills f JOIN orders o USING (order_id)",
    )
    assert found
    for fill in found:
        sign = 1 if fill.side == "buy" else -1
        assert fill.arrival_price == fill.decided
        assert fill.slippage_bps == pytest.approx(sign * (fill.price / fill.decided - 1) * 1e4)
        # From the price before costs to the fill is spread and impact, rounded to a tick against us.
        paid = sign * (fill.price / fill.reference_price - 1) * 1e4
        assert paid == pytest.approx(fill.spread_bps + fill.impact_bps, abs=1e-6)
        assert fill.fee_bps == pytest.approx(float(fill.fee / fill.notional) * 1e4, abs=1e-6)


def test_gains_are_by_lot_by_year_and_add_up(ledger: Ledger, lively: Any) -> None:
    lively.trade(ledger, lively.open_model(ledger), 1, 30)
    gains = ledger.gains("model-1")
    assert gains == ledger.gains("model-1", 2024)
    assert ledger.gains("model-1", 2023) == []
    (realised,) = rows(ledger, "SELECT sum(realised) FROM fills")
    (open_cost,) = [
        sum(Decimal(p["cost"]) for p in s.state["positions"].values()) for s in ledger.standings()
    ]
    invested = rows(ledger, "SELECT sum(notional + fee) FROM fills WHERE side = 'buy'")[0][0]
    assert sum(g["cost"] for g in gains) + open_cost == pytest.approx(invested, abs=Decimal("1e-6"))
    if open_cost == 0:
        assert sum(g["gain"] for g in gains) == realised[0]
    header, first, *_ = as_csv(gains).splitlines()
    assert header == (
        "acquired_at,disposed_at,symbol,side,quantity,proceeds,cost,gain,holding_days,lot_id,disposal_id"
    )
    assert first.count(",") == header.count(",")


@pytest.mark.parametrize(
    ("tampering", "finding"),
    [
        ("UPDATE trades SET realised = realised + 0.00000001", "its fills say"),
        ("UPDATE trades SET side = 'short'", "side is short, its fills say long"),
        ("DELETE FROM trades", "is not in the journal"),
        ("UPDATE trades SET known_at = known_at + interval '100 days'", "that the fills have not"),
        ("UPDATE trades SET entry_price = entry_price * 1.001", "entry_price is"),
        ("UPDATE fills SET realised = realised + 1 WHERE side = 'sell'", "fills and state to"),
        ("UPDATE fills SET slippage_bps = 0", "are not those that were traded"),
        ("UPDATE orders SET cause = 'asset_cap'", "are not those that were traded"),
        ("UPDATE book_events SET detail = '{\"mode\": \"run\", \"resumed\": false}'", "book_control at"),
        ("UPDATE book_events SET reason = 'none'", "book_control at"),
        ("DELETE FROM book_events", "the audit chain says what the table does not"),
        ("UPDATE books SET strategy = 'ema_crossover', model_version = NULL", "book_opened at"),
        ("UPDATE promotions SET version = '2'", "promotion at"),
    ],
)  # fmt: skip
def test_tampering_with_journal_lots_or_decisions_shows(
    tampering: str, finding: str, ledger: Ledger, lively: Any, execute: Callable[..., None]
) -> None:
    ledger.promote(
        "1", effective_from=START + HOUR, kind="first", reason="first", decided_by="train"
    )
    lively.trade(ledger, lively.open_model(ledger), 1, 10)
    ledger.control("pause", None, step=HOUR, reason="news", decided_by="ann")
    assert ledger.verify() == []
    execute(tampering, as_owner=True)
    assert any(finding in found for found in ledger.verify()), ledger.verify()
