import polars as pl
import pytest

from pipelines import tables


@pytest.mark.parametrize("name", sorted(tables.LAKE_TABLES))
def test_every_table_has_its_key_known_at_and_a_sentence(name: str) -> None:
    table = tables.contract(name)
    assert set(table.key) <= set(table.schema)
    assert table.schema["known_at"] == pl.Datetime("us", "UTC")
    assert table.doc.endswith(".")
    assert set(table.audit_columns) <= set(table.schema)
    assert not set(table.audit_columns) & set(table.key)
    assert table.empty().schema == pl.Schema(table.schema)


def test_other_timeframes_follow_the_bars_contract_under_their_own_name() -> None:
    assert tables.bars_table_name("1h", "1h") == "bars"
    assert tables.bars_table_name("1m", "1h") == "bars_1m"
    assert tables.contract("bars_1m").columns == tables.BARS.columns
    with pytest.raises(KeyError):
        tables.contract("nothing")


def test_the_row_rules_of_bars_name_a_crossed_bar() -> None:
    bar = {
        "open": 10.0,
        "high": 9.0,
        "low": 8.0,
        "close": 8.5,
        "volume": 1.0,
        "taker_buy_volume": 2.0,
    }
    frame = pl.DataFrame([bar]).with_columns(
        known_at=pl.datetime(2024, 1, 1, 1), open_time=pl.datetime(2024, 1, 1)
    )
    held = {rule.name: frame.select(rule.holds).item() for rule in tables.BARS.rules}
    assert held == {
        "high_is_highest": False,
        "low_is_lowest": True,
        "known_after_open": True,
        "taker_within_volume": False,
    }


def test_a_feature_column_is_a_nullable_float32() -> None:
    table = tables.features_table(["rsi_14"])
    assert table.column("rsi_14").nullable
    assert table.schema["rsi_14"] == pl.Float32()
    with pytest.raises(KeyError):
        table.column("rsi_15")
