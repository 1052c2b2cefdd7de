from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ContractViolation
from pipelines.lake.validation import (
    clauses,
    conform,
    find_breaches,
    is_sorted,
    require_contract,
    with_reason,
)
from pipelines.tables import BARS, FEATURES, SCORES, features_table

START = datetime(2024, 1, 1, tzinfo=UTC)


def test_every_part_of_a_contract_is_a_clause():
    names = [clause.name for clause in clauses(BARS)]
    assert "open_not_null" in names
    assert "quote_volume_not_null" not in names
    assert {"close_finite", "close > 0", "volume >= 0", "high_is_highest"} <= set(names)
    assert names[-1] == "key_is_unique"
    assert {"p_up >= 0", "p_up <= 1"} <= {clause.name for clause in clauses(SCORES)}
    assert len(names) == len(set(names))


def test_healthy_rows_break_nothing_and_null_is_allowed_where_the_contract_says(make_bars):
    bars = make_bars(quote_volume=None, trades=None, taker_buy_volume=None)
    assert find_breaches(BARS, bars) == []
    assert find_breaches(BARS, BARS.empty()) == []


def test_a_breach_says_which_rows_where_first_and_what_was_seen(make_bars):
    late = pl.col("known_at") > START + timedelta(hours=2)
    bars = make_bars(START, hours=5).with_columns(
        volume=pl.when(late).then(-2.0).otherwise("volume"),
        taker_buy_volume=pl.lit(None, pl.Float64),
    )
    (breach,) = find_breaches(BARS, bars)
    assert (breach.check, breach.rows, breach.symbol) == ("volume >= 0", 6, "BTC/USDT")
    assert breach.first == START + timedelta(hours=3)
    assert breach.observed == "volume = -2.0"
    assert str(breach) == (
        "bars: 6 rows of BTC/USDT: volume [base] is not >= 0 (first 2024-01-01T03:00Z: "
        "volume = -2.0), bound >= 0"
    )


def test_many_breaches_are_counted_after_the_first_five(make_bars):
    nothing = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in BARS.schema.items()
        if name not in ("venue", "symbol", "known_at")
    ]
    with pytest.raises(ContractViolation, match=r"; and 2 more; nothing was written"):
        require_contract(BARS, make_bars().with_columns(nothing))


def test_every_row_carries_the_reasons_it_is_refused_for(make_bars):
    bars = make_bars(hours=2, symbols=("BTC/USDT",)).with_columns(
        close=pl.Series([float("nan"), 1.0]), high=pl.Series([102.0, 0.0])
    )
    reasons = with_reason(BARS, bars)["reason"].to_list()
    assert reasons[0].startswith("close is NaN or infinite")
    assert "high [quote] is not > 0" in reasons[1]
    assert "high below open, close or low" in reasons[1]
    assert with_reason(BARS, make_bars())["reason"].null_count() == 6


def test_columns_are_put_in_order_and_rows_sorted(make_bars):
    bars = make_bars()
    shuffled = bars.select(reversed(bars.columns)).sample(fraction=1, shuffle=True, seed=3)
    assert conform(BARS, shuffled).equals(bars)


def test_an_open_table_takes_float32_columns_and_refuses_infinity(make_bars):
    keys = make_bars().select("venue", "symbol", "known_at")
    wide = keys.with_columns(rsi_14=pl.lit(50, pl.Float32), gap=pl.lit(None, pl.Float32))
    for table in (FEATURES, features_table(["rsi_14", "gap"])):
        assert find_breaches(table, wide) == []
        (breach,) = find_breaches(table, wide.with_columns(gap=pl.lit(float("inf"), pl.Float32)))
        assert breach.check == "gap_finite"
    (breach,) = find_breaches(FEATURES, keys.with_columns(rsi_14=pl.lit(50.0, pl.Float64)))
    assert breach.message == "column rsi_14 is Float64"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=6))
def test_rows_count_as_sorted_exactly_where_sorting_changes_nothing(rows) -> None:
    frame = pl.DataFrame(rows, schema={"name": pl.String, "number": pl.Int64}, orient="row")
    assert is_sorted(frame, ("name", "number")) == (rows == sorted(rows))
