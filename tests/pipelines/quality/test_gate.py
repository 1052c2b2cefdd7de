from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines import quality
from pipelines.errors import ContractViolation
from pipelines.lake.validation import clauses, find_breaches, sound_columns
from pipelines.quality import CheckResult
from pipelines.quality.expectations import (
    column_suite,
    failed_expectations,
    full_suite,
    passes_gate,
)
from pipelines.tables import BARS, FEATURES, SCORES, Column

AS_OF = datetime(2024, 1, 1, 3, tzinfo=UTC)


def row(check, *, symbol="*", passed=True, observed="", known_at=AS_OF):
    return CheckResult("bars", check, "binance", symbol, known_at, observed, "a bound", passed)


@hypothesis_settings(max_examples=12)
@given(
    changes=st.dictionaries(
        st.tuples(
            st.sampled_from(["open", "high", "low", "close", "volume", "taker_buy_volume"]),
            st.integers(0, 5),
        ),
        st.sampled_from([None, float("nan"), float("inf"), -1.0, 0.0, 100.5, 1000.0]),
        max_size=3,
    ),
    twice=st.booleans(),
)
def test_the_gate_the_suite_and_the_contract_always_agree(make_bars, changes, twice):
    columns = {n: make_bars()[n].to_list() for n in BARS.schema}
    for (name, at), value in changes.items():
        columns[name][at] = value
    if twice:
        columns["symbol"] = ["BTC/USDT"] * 6
    bars = pl.DataFrame(columns, schema=BARS.schema)
    healthy = not find_breaches(BARS, bars)
    assert passes_gate(BARS, bars) == healthy
    assert (not failed_expectations(BARS, bars)) == healthy


def test_every_column_rule_and_key_of_a_contract_becomes_an_expectation():
    kinds = [type(expectation).__name__ for expectation in full_suite(SCORES)]
    assert kinds.count("ExpectColumnValuesToNotBeNull") == len(SCORES.columns)
    # Three probabilities and the horizon have a range; two rules and six floats are verdicts.
    assert kinds.count("ExpectColumnValuesToBeBetween") == 4
    assert kinds.count("ExpectColumnValuesToBeInSet") == 8
    assert kinds.count("ExpectCompoundColumnsToBeUnique") == 1


def test_a_wide_table_is_asked_about_its_columns_in_three_expectations(make_bars):
    columns = [Column(f"f{i}", pl.Float32(), nullable=True, ge=0.0, le=1.0) for i in range(60)]
    table = replace(FEATURES, columns=(*FEATURES.columns, *columns))
    assert (len(full_suite(table)), len(column_suite())) == (5, 3)
    keys = make_bars().select("venue", "symbol", "known_at")
    wide = keys.with_columns(pl.lit(1, pl.Float32).alias(column.name) for column in columns)
    assert failed_expectations(table, wide) == []
    odd = pl.Series([1, 0, None, 0.5, 0.5, None], dtype=pl.Float32)
    assert failed_expectations(table, wide.with_columns(f7=odd)) == []
    for value, failed in (
        (float("nan"), "expect_column_values_to_be_in_set (non_finite): 1 of 60 rows"),
        (float("inf"), "expect_column_values_to_be_in_set (non_finite): 1 of 60 rows"),
        (-0.5, "a_to_be_greater_than_b (least, lower_bound): 1 of 60 rows"),
        (1.5, "a_to_be_greater_than_b (upper_bound, greatest): 1 of 60 rows"),
    ):
        broken = wide.with_columns(f7=odd.scatter(1, value))
        (told,) = failed_expectations(table, broken)
        assert told.endswith(failed)


@hypothesis_settings(max_examples=60)
@given(
    changes=st.dictionaries(
        st.tuples(st.integers(0, 39), st.integers(0, 5)),
        st.sampled_from(
            [None, float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 0.5, 1.0, 2.0]
        ),
        max_size=4,
    )
)
def test_a_wide_table_summed_up_breaks_what_its_clauses_break(make_bars, changes):
    ranges = [(None, None, None), (0.0, None, 1.0), (None, 0.0, None), (-0.5, None, None)]
    columns = [
        Column(f"f{i}", pl.Float32(), nullable=True, ge=ge, gt=gt, le=le)
        for i in range(40)
        for ge, gt, le in [ranges[i % 4]]
    ]
    table = replace(FEATURES, columns=(*FEATURES.columns, *columns), open_columns=False)
    cells = {column.name: [0.25] * 6 for column in columns}
    for (column, row_number), value in changes.items():
        cells[f"f{column}"][row_number] = value
    keys = make_bars().select("venue", "symbol", "known_at")
    frame = keys.with_columns(pl.Series(n, v, pl.Float32) for n, v in cells.items())
    broken = {clause.name for clause in clauses(table) if frame.select(clause.breaks.any()).item()}
    assert {breach.check for breach in find_breaches(table, frame)} == broken
    unbroken = {c.name for c in columns if not any(name.startswith(f"{c.name}") for name in broken)}
    assert sound_columns(table, frame) >= unbroken


def test_validation_gives_a_summary_and_one_row_a_broken_clause(make_bars):
    (summary,) = quality.validate(BARS, make_bars(), run_known_at=AS_OF, venue="binance")
    assert (summary.check, summary.passed, summary.observed) == ("contract", True, "6 rows")
    bars = make_bars(volume=-1.0, taker_buy_volume=None)
    summary, broken = quality.validate(BARS, bars, run_known_at=AS_OF, venue="binance")
    assert not summary.passed
    assert summary.failing_rows == 6
    assert "expect_column_values_to_be_between (volume): 6 of 6 rows" in summary.observed
    assert (broken.check, broken.symbol, broken.failing_rows) == ("volume >= 0", "BTC/USDT", 6)
    (summary,) = quality.validate(BARS, BARS.empty(), run_known_at=AS_OF, venue="binance")
    assert summary.passed


def test_rows_are_recorded_once_and_replaced_by_the_next_run(lake):
    checks = ["contract", "jump"]
    how = {"as_of": AS_OF, "table": "bars", "venue": "binance", "checks": checks}
    assert quality.record(lake, [row("contract"), row("jump", passed=False)], **how)
    assert not quality.record(lake, [row("contract"), row("jump", passed=False)], **how)
    quality.add(lake, [row("late", passed=False)])
    assert quality.record(lake, [row("contract")], **how)
    rows = lake.read("quality", end=AS_OF)
    assert rows.select("check", "passed").rows() == [("contract", True), ("late", False)]


def test_rows_can_be_added_over_many_instants_without_losing_any(lake):
    hours = [AS_OF + timedelta(hours=i) for i in range(3)]
    assert quality.add(lake, [row("gap_confirmed", known_at=hours[1], observed="first")])
    results = [row("gap_confirmed", known_at=hour, observed="second") for hour in hours[::2]]
    assert quality.add(lake, results)
    assert not quality.add(lake, results)
    assert not quality.add(lake, [])
    found = lake.read("quality", end=hours[-1])["observed"].to_list()
    assert found == ["second", "first", "second"]


def test_a_refusal_keeps_the_broken_rows_and_only_those(lake, make_bars):
    bars = make_bars(START := AS_OF - timedelta(hours=3)).with_columns(
        close=pl.when(pl.col("symbol") == "ETH/USDT").then(-5.0).otherwise("close")
    )
    results = quality.validate(BARS, bars, run_known_at=AS_OF, venue="binance")

    def refuse():
        quality.refuse(
            lake, BARS, bars, results, as_of=AS_OF, venue="binance", remedy="wait for the venue"
        )

    with pytest.raises(ContractViolation, match="3 rows of ETH/USDT: close") as caught:
        refuse()
    assert caught.value.remedy == "wait for the venue"
    kept = lake.read("quarantine", end=AS_OF)
    assert kept.height == 3
    assert set(kept["symbol"]) == {"ETH/USDT"}
    assert kept["known_at"][0] == START + timedelta(hours=1)
    assert '"close":-5.0' in kept["row"][0]
    assert "ingested_at" not in kept["row"][0]
    assert not lake.read("quality", end=AS_OF).filter(~pl.col("passed")).is_empty()
    assert not lake.exists("bars")
    versions = [(info.name, info.version) for info in lake.describe()]
    with pytest.raises(ContractViolation):
        refuse()
    assert [(info.name, info.version) for info in lake.describe()] == versions


def test_nothing_is_refused_where_all_hard_checks_hold(lake, make_bars):
    soft = CheckResult("bars", "jump", "binance", "*", AS_OF, "", "", passed=False, hard=False)
    quality.refuse(lake, BARS, make_bars(), [soft], as_of=AS_OF, venue="binance", remedy="")
    assert lake.describe() == []


def test_both_rows_of_a_duplicate_are_kept(lake, make_bars):
    bars = make_bars(hours=1, symbols=("BTC/USDT",))
    twice = pl.concat([bars, bars.with_columns(close=pl.lit(100.5))])
    results = quality.validate(BARS, twice, run_known_at=AS_OF, venue="binance")
    with pytest.raises(ContractViolation, match="duplicate key"):
        quality.refuse(lake, BARS, twice, results, as_of=AS_OF, venue="binance", remedy="")
    (kept,) = lake.read("quarantine", end=AS_OF)["row"].to_list()
    assert kept.count('"symbol"') == 2
