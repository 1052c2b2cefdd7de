"""Two records side by side: nothing that differs is passed over, nothing equal is blamed."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines.prove.comparison import EQUITY, FILLS, differences, first_difference, side_by_side
from pipelines.tables import KEY

T = datetime(2024, 5, 6, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def fills(**changes: object) -> pl.DataFrame:
    row = {
        "known_at": T,
        "symbol": "BTC/USDT",
        "kind": "market",
        "quantity": 0.12345678,
        "notional": 1851.85,
        "fee": 1.85185,
        "realised": 0.0,
        "arrival_price": 15000.0,
        "reference_price": 15001.0,
        "price": 15004.0,
        "side": "buy",
    }
    schema_overrides = {"known_at": pl.Datetime("us", "UTC")}
    return pl.DataFrame([{**row, **changes}], schema_overrides=schema_overrides)


def found(here: pl.DataFrame, there: pl.DataFrame) -> list[tuple]:
    rows = differences(FILLS, side_by_side(FILLS, here, there))
    return rows.select("column", "ledger", "backtest").rows()


def test_equal_records_have_no_difference() -> None:
    paired = side_by_side(FILLS, fills(), fills())
    assert paired["equal"].to_list() == [True]
    assert differences(FILLS, paired).is_empty()


def test_one_count_of_1e_8_is_a_difference() -> None:
    assert found(fills(), fills(fee=1.85185001)) == [("fee", "1.85185", "1.85185001")]


def test_less_than_half_a_count_of_an_amount_is_none() -> None:
    assert found(fills(), fills(fee=1.85185 + 2e-16)) == []


def test_a_price_must_agree_to_the_last_bits() -> None:
    assert found(fills(), fills(price=15004.000001)) == [("price", "15004.0", "15004.000001")]


def test_a_row_of_one_side_is_one_difference() -> None:
    late = fills(known_at=T + HOUR)
    assert found(fills(), late) == [
        ("row", "there", "no such row"),
        ("row", "no such row", "there"),
    ]


def test_every_column_that_differs_is_listed() -> None:
    names = [column for column, _, _ in found(fills(), fills(side="sell", quantity=1.0))]
    assert names == ["quantity", "side"]


def test_two_rows_of_one_key_are_refused() -> None:
    curve = pl.DataFrame(
        {"known_at": [T, T], "equity": [1.0, 1.0], "cash": [1.0, 1.0], "exposure": [0.0, 0.0]}
    )
    with pytest.raises(ValueError, match="ledger: equity holds two rows of one known_at"):
        side_by_side(EQUITY, curve, curve.head(1))


def features(*values: float | None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "venue": "binance",
            "symbol": "BTC/USDT",
            "known_at": [T + i * HOUR for i in range(len(values))],
            "atr_14": values,
        },
        schema_overrides={"atr_14": pl.Float32},
    )


def test_the_first_input_that_differs_is_named() -> None:
    met = first_difference("features", KEY, features(0.5, 0.25, 0.5), features(0.5, 0.75, 1.0))
    assert met == (
        T + HOUR,
        "features: atr_14 of BTC/USDT is 0.25 in the replay and 0.75 in the backtest",
    )


def test_an_input_that_only_one_side_had_is_named() -> None:
    met = first_difference("features", KEY, features(0.5), features(0.5, 0.5))
    assert met == (T + HOUR, "features: only the backtest has the row of BTC/USDT")


def test_a_null_on_both_sides_is_no_difference() -> None:
    assert first_difference("features", KEY, features(None), features(None)) is None
