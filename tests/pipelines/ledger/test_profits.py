"""Every cent that a ledger's books earned or lost has a place."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from evaluation.attribution import attribute, round_trips
from pipelines.errors import ConfigError
from pipelines.ledger import Ledger

HOUR = timedelta(hours=1)
START = datetime(2024, 6, 1, tzinfo=UTC)


def test_long_and_short_round_trips_with_funding_are_the_change_of_the_equity_at_every_hour(
    ledger: Ledger, lively: Any
) -> None:
    book = lively.open_model(ledger)
    other = lively.open_model(ledger, "2")
    lively.trade(ledger, book, 1, 40, symbols=lively.PERPETUALS, funding_rate=0.0004)
    lively.trade(ledger, other, 1, 12)
    for hour in range(0, 41, 4):
        at = START + hour * HOUR
        records = ledger.profits(at)
        parts = attribute(round_trips(*records), ["book"])
        sums = dict(parts.select("book", "pnl").rows())
        for name, initial, equity in records.equity.rows():
            assert sums.get(name, Decimal(0)) == equity - initial
    by_side = attribute(round_trips(*ledger.profits(at, "model-1")), ["side"])
    assert by_side["side"].to_list() == ["long", "short"]
    assert (by_side["funding"] != 0).all()
    assert (by_side["fees"] > 0).all()


def test_the_round_trips_are_those_of_the_journal(ledger: Ledger, lively: Any) -> None:
    book = lively.open_model(ledger)
    lively.trade(ledger, book, 1, 48, symbols=lively.PERPETUALS, funding_rate=-0.0007)
    trips = round_trips(*ledger.profits(START + 48 * HOUR)).drop_nulls("exited_at")
    told = {
        (one["symbol"], one["exited_at"]): (
            one["side"],
            one["realised"],
            one["fees"],
            one["funding"],
        )
        for one in ledger.journal("model-1", 1_000)
    }
    assert len(told) == trips.height > 5
    for one in trips.to_dicts():
        assert one["signal_at"] == one["entered_at"] - HOUR
        row = told[one["symbol"], one["exited_at"].strftime("%Y-%m-%dT%H:%MZ")]
        assert row == (one["side"], *(float(one[name]) for name in ("pnl", "fees", "funding")))


def test_a_book_without_an_hour_changed_nothing_and_one_that_is_not_there_is_refused(
    ledger: Ledger, lively: Any
) -> None:
    lively.open_model(ledger)
    records = ledger.profits(START)
    assert records.equity.rows() == [("model-1", Decimal(100_000), Decimal(100_000))]
    assert round_trips(*records).is_empty()
    with pytest.raises(ConfigError, match="book 'nobody' does not exist"):
        ledger.profits(START, "nobody")
