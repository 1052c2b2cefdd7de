"""Pause, resume, liquidate: from the next hour, with a reason, once, and audited."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipelines.errors import ConfigError
from pipelines.ledger import Ledger
from pipelines.ledger.controls import Control, controls_of, decide, mode_at
from pipelines.ledger.schema import audit
from serving.controls import LIQUIDATE, PAUSE, RUN

HOUR = timedelta(hours=1)
START = datetime(2024, 6, 1, tzinfo=UTC)


def tell(ledger: Ledger, action: str, *names: str, reason: str = "news") -> list[dict[str, Any]]:
    return ledger.control(action, names or None, step=HOUR, reason=reason, decided_by="ann")


def mode_of(ledger: Ledger, name: str, as_of: datetime) -> str:
    return next(b["mode"] for b in ledger.status(as_of)["books"] if b["book"] == name)


def order_hours(ledger: Ledger, lively: Any) -> list[int]:
    """The hours in which something that grows a position was ordered."""
    query = sa.text("SELECT DISTINCT known_at FROM orders WHERE side = 'buy' ORDER BY 1")
    with ledger._engine.connect() as connection:
        return [(at - lively.START) // HOUR for at in connection.scalars(query)]


def test_a_control_holds_from_the_next_hour_and_is_in_the_audit_chain(
    ledger: Ledger, lively: Any
) -> None:
    lively.trade(ledger, lively.open_model(ledger), 1, 4)
    (answer,) = tell(ledger, "pause", "model-1")
    assert answer == {
        "book": "model-1", "mode": "pause", "effective_from": START + 5 * HOUR, "changed": True,
    }  # fmt: skip
    assert mode_of(ledger, "model-1", START + 3 * HOUR) == "run"
    assert mode_of(ledger, "model-1", START + 4 * HOUR) == "pause"
    with ledger._engine.connect() as connection:
        row = connection.execute(sa.select(audit).order_by(audit.c.sequence.desc())).first()
    assert (row.kind, row.known_at) == ("book_control", START + 5 * HOUR)
    assert (row.payload["reason"], row.payload["decided_by"]) == ("news", "ann")
    assert ledger.verify() == []


def test_a_book_that_never_traded_is_paused_from_its_first_hour(
    ledger: Ledger, lively: Any
) -> None:
    lively.open_model(ledger)
    (answer,) = tell(ledger, "pause", "model-1")
    assert answer["effective_from"] == START + HOUR
    lively.trade(ledger, ledger.books()[0], 1, 6)
    assert order_hours(ledger, lively) == []


def test_to_say_it_again_writes_nothing(ledger: Ledger, lively: Any) -> None:
    lively.open_model(ledger)
    assert not tell(ledger, "resume", "model-1")[0]["changed"]
    assert tell(ledger, "pause", "model-1")[0]["changed"]
    counts = ledger.counts()
    (again,) = tell(ledger, "pause", "model-1", reason="still news")
    assert (again["changed"], again["effective_from"]) == (False, START + HOUR)
    assert ledger.counts() == counts


def test_of_several_controls_for_one_hour_the_last_one_holds(ledger: Ledger, lively: Any) -> None:
    lively.open_model(ledger)
    for action in ("pause", "liquidate", "resume", "pause", "resume"):
        assert tell(ledger, action, "model-1")[0]["changed"]
    (standing,) = ledger.standings()
    assert [c.mode for c in standing.controls] == ["pause", "liquidate", "run", "pause", "run"]
    assert {c.effective_from for c in standing.controls} == {START + HOUR}
    assert ledger.verify() == []


def test_the_kill_switch_reaches_every_book_that_trades_and_no_retired_one(
    ledger: Ledger, lively: Any
) -> None:
    for version in ("1", "2", "3"):
        lively.open_model(ledger, version)
    ledger.retire_book("model-2", at=START, reason="old", decided_by="register")
    assert [a["book"] for a in tell(ledger, "liquidate")] == ["model-1", "model-3"]
    with pytest.raises(ConfigError, match="'model-2' is retired"):
        tell(ledger, "pause", "model-2")


def test_a_wrong_name_stops_all_of_it_and_names_the_nearest(ledger: Ledger, lively: Any) -> None:
    lively.open_model(ledger)
    with pytest.raises(ConfigError, match=r"'model-l' does not exist.*'model-1'"):
        tell(ledger, "pause", "model-1", "model-l")
    assert ledger.standings()[0].controls == ()


def test_a_paused_book_buys_nothing_a_liquidated_one_holds_nothing_a_resumed_one_trades(
    ledger: Ledger, lively: Any
) -> None:
    book = lively.open_model(ledger)
    lively.trade(ledger, book, 1, 8)
    before = order_hours(ledger, lively)
    assert before
    tell(ledger, "pause", "model-1")
    lively.trade(ledger, book, 9, 16)
    assert order_hours(ledger, lively) == before
    tell(ledger, "liquidate", "model-1")
    lively.trade(ledger, book, 17, 19)
    (state,) = ledger.status(START + 19 * HOUR)["books"]
    assert state["positions"] == []
    tell(ledger, "resume", "model-1")
    lively.trade(ledger, book, 20, 40)
    assert any(hour >= 20 for hour in order_hours(ledger, lively))
    assert ledger.verify() == []


def test_the_engine_is_told_the_mode_and_the_lifted_halt_hour_by_hour() -> None:
    def control(hour: int, mode: str, *, resumed: bool = False) -> Control:
        return Control(START + hour * HOUR, mode, resumed, "r", "ann")

    history = [
        control(2, "pause"), control(3, "run", resumed=True), control(3, "liquidate"), control(5, "run"),
    ]  # fmt: skip
    told = controls_of(history, [START + hour * HOUR for hour in range(1, 7)])
    np.testing.assert_array_equal(told.mode, [RUN, PAUSE, LIQUIDATE, LIQUIDATE, RUN, RUN])
    np.testing.assert_array_equal(told.resumed, [False, False, True, False, False, False])
    assert mode_at(history) == "run"


def test_only_a_halted_book_is_resumed_in_the_engines_sense() -> None:
    """Else to pause and to resume would be a way to forget the peak of equity."""
    paused = [Control(START, "pause", resumed=False, reason="r", decided_by="ann")]
    assert decide("resume", paused, START + HOUR, halted=False) == {"mode": "run", "resumed": False}
    assert decide("resume", [], START + HOUR, halted=True) == {"mode": "run", "resumed": True}
    lifted = [Control(START + HOUR, "run", resumed=True, reason="r", decided_by="ann")]
    assert decide("resume", lifted, START + HOUR, halted=True) is None
    assert decide("resume", lifted, START + 2 * HOUR, halted=True) == {
        "mode": "run",
        "resumed": True,
    }
