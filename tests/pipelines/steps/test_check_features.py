"""An hour of features is refused when it breaks its contract, and let through when the market is odd."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from features.registry import registered
from pipelines.context import Context
from pipelines.errors import ContractViolation
from pipelines.quality.column_profile import latest_statistics
from pipelines.quality.refusals import refused_hours, without_refused
from pipelines.settings import load_settings
from pipelines.steps.build_features import build_features, feature_names
from pipelines.steps.check_features import bounded_table, check_features
from pipelines.tables import BARS, features_table

HOUR = timedelta(hours=1)
START = datetime(2024, 2, 20, tzinfo=UTC)
END = START + 900 * HOUR
UNIVERSE = ("ADA/USDT", "BTC/USDT", "ETH/USDT")


@pytest.fixture
def bars(random_bars) -> pl.DataFrame:
    return random_bars(UNIVERSE, start=START, hours=900)


@pytest.fixture
def context(home: Path, bars: pl.DataFrame) -> Iterator[Context]:
    settings = load_settings({"home": str(home), "universe": list(UNIVERSE)}, environ={})
    with Context(settings) as context:
        context.lake.replace(BARS, bars, start=START, end=END)
        build_features(context, END)
        yield context


def spoil(context: Context, change: pl.Expr, since: datetime = END - HOUR) -> None:
    """Write rows into `features` that the bars do not give."""
    rows = context.lake.read("features", start=since, end=END).with_columns(change)
    table = features_table(feature_names(context.settings))
    context.lake.replace(table, rows, start=since, end=END)


def test_an_hour_as_built_passes_and_is_recorded(context: Context) -> None:
    report = check_features(context, END)
    assert report.changed
    rows = context.lake.read("quality", end=END).filter(pl.col("table") == "features")
    assert rows["passed"].all()
    checks = rows.filter(~pl.col("check").str.starts_with("statistics of "))["check"]
    assert sorted(checks.to_list()) == [
        "contract", "expectations", "feature_set", "not_constant", "null_share", "one_row_a_bar",
    ]  # fmt: skip


def test_every_column_is_described_at_midnight_and_the_first_time_and_not_in_between(
    context: Context, bars: pl.DataFrame
) -> None:
    """END is an hour of noon: the first check is not at midnight."""
    check_features(context, END)
    found = latest_statistics(context.lake, "features", venue="binance", end=END)
    whole = context.lake.read("features", end=END)
    assert set(found) == set(feature_names(context.settings))
    rsi = whole.filter(pl.col("rsi_14").is_not_null())
    assert found["rsi_14"] == {
        "rows": 2700,
        "null_share": 1 - rsi.height / 2700,
        "least": rsi["rsi_14"].min(),
        "greatest": rsi["rsi_14"].max(),
        "first_valid": rsi["known_at"].min().strftime("%Y-%m-%dT%H:%MZ"),
    }
    noted = context.lake.read("quality", end=END).filter(pl.col("check") == "statistics of rsi_14")
    assert noted.select("bound", "passed").row(0) == (">= -1e-05 and <= 1.00001", True)
    following = {END + HOUR: False, END.replace(hour=0) + 24 * HOUR: True}
    for as_of, described in following.items():
        more = bars.with_columns(pl.col("known_at", "open_time") + (as_of - END))
        context.lake.replace(BARS, more.filter(pl.col("known_at") > END), start=END, end=as_of)
        build_features(context, as_of)
        check_features(context, as_of)
        rows = context.lake.read("quality", start=as_of - HOUR, end=as_of)
        assert rows["check"].str.starts_with("statistics").any() == described


def test_a_refused_hour_is_out_of_reach_until_its_check_passes(context: Context) -> None:
    rows = context.lake.read("features", start=END - 3 * HOUR, end=END)
    assert without_refused(context.lake, rows).equals(rows)
    spoil(context, pl.lit(1.5, pl.Float32).alias("rsi_14"))
    with pytest.raises(ContractViolation, match="rsi_14"):
        check_features(context, END)
    assert refused_hours(context.lake, "binance", END - 3 * HOUR, END) == [END]
    assert refused_hours(context.lake, "upbit", END - 3 * HOUR, END) == []
    assert without_refused(context.lake, rows)["known_at"].unique().sort().to_list() == [
        END - 2 * HOUR,
        END - HOUR,
    ]
    build_features(context, END)
    check_features(context, END)
    assert without_refused(context.lake, rows).equals(rows)


def test_checking_again_writes_nothing(context: Context) -> None:
    check_features(context, END)
    version = context.lake.version("quality")
    assert not check_features(context, END).changed
    assert context.lake.version("quality") == version


def test_a_value_out_of_its_declared_range_is_refused_and_quarantined(context: Context) -> None:
    ada = pl.col("symbol") == "ADA/USDT"
    spoil(context, pl.when(ada).then(pl.lit(1.5, pl.Float32)).otherwise("rsi_14").alias("rsi_14"))
    with pytest.raises(ContractViolation, match=r"rsi_14.*1\.5.*<= 1"):
        check_features(context, END)
    held = context.lake.read("quarantine", end=END)
    assert held.select("symbol", "known_at", "table").rows() == [
        (symbol, END, "features") for symbol in UNIVERSE
    ]
    assert "rsi_14 [fraction] is not <= 1" in held["reason"][0]
    quality = context.lake.read("quality", end=END).filter(~pl.col("passed"))
    assert "contract" in quality["check"].to_list()


def test_an_hour_that_was_not_built_is_refused(context: Context) -> None:
    table = features_table(feature_names(context.settings))
    none = context.lake.read("features", start=END - HOUR, end=END).clear()
    context.lake.replace(table, none, start=END - HOUR, end=END)
    with pytest.raises(ContractViolation, match=r"3 bars without a row.*run build_features"):
        check_features(context, END)


def test_features_of_another_set_are_refused(context: Context) -> None:
    context.lake.set_metadata("features", {"feature_set": "0123456789abcdef"})
    with pytest.raises(ContractViolation, match=r"carry set 0123456789abcdef"):
        check_features(context, END)


def test_a_column_that_went_empty_is_refused(context: Context) -> None:
    spoil(context, pl.lit(None, pl.Float32).alias("atr_14"), since=END - 100 * HOUR)
    with pytest.raises(ContractViolation, match=r"atr_14 is null in 6\d% of its complete windows"):
        check_features(context, END)


def test_a_column_that_stands_still_is_refused(context: Context) -> None:
    spoil(context, pl.lit(0.25, pl.Float32).alias("rsi_14"), since=END - 200 * HOUR)
    with pytest.raises(ContractViolation, match=r"rsi_14 is 0\.25 throughout"):
        check_features(context, END)


def test_a_venue_without_order_flow_passes(home: Path, bars: pl.DataFrame) -> None:
    blind = bars.with_columns(
        trades=pl.lit(None, pl.Int64), taker_buy_volume=pl.lit(None, pl.Float64)
    )
    settings = load_settings({"home": str(home), "universe": list(UNIVERSE)}, environ={})
    with Context(settings) as context:
        context.lake.replace(BARS, blind, start=START, end=END)
        build_features(context, END)
        assert check_features(context, END).changed


@pytest.mark.parametrize("symbol", ["BTC/USDT", "ETH/USDT"])
def test_a_universe_of_one_passes(home: Path, bars: pl.DataFrame, symbol: str) -> None:
    settings = load_settings({"home": str(home), "universe": [symbol]}, environ={})
    with Context(settings) as context:
        context.lake.replace(BARS, bars, start=START, end=END)
        build_features(context, END)
        assert check_features(context, END).changed


def test_an_outage_of_one_symbol_and_a_young_market_pass(home: Path, bars: pl.DataFrame) -> None:
    gap = (pl.col("symbol") == "ETH/USDT") & (pl.col("known_at") > END - 20 * HOUR)
    young = (pl.col("symbol") == "ADA/USDT") & (pl.col("known_at") < END - 10 * HOUR)
    settings = load_settings({"home": str(home), "universe": list(UNIVERSE)}, environ={})
    with Context(settings) as context:
        context.lake.replace(BARS, bars.filter(~gap & ~young), start=START, end=END)
        build_features(context, END)
        assert check_features(context, END).detail["rows"] == 2


def test_the_contract_carries_the_declared_ranges() -> None:
    table = bounded_table(tuple(registered(("oscillators",))))
    rsi = table.column("rsi_14")
    assert (rsi.unit, rsi.nullable) == ("fraction", True)
    assert rsi.ge == pytest.approx(0, abs=1e-4)
    assert rsi.le == pytest.approx(1, abs=1e-4)
    assert table.column("cci_20").le is None
