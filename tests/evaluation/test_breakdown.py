import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.breakdown import (
    by_exit,
    by_regime,
    by_symbol,
    calendar,
    monthly_returns,
    stress_regimes,
    trend_regimes,
)

HOURS = 8760.0


def trades() -> pl.DataFrame:
    rows = [
        ("BTC/USDT", "stop_loss", "signal", -50.0, -0.05, 10, -1.0, 2.0, 0.0),
        ("BTC/USDT", "market", "signal", 100.0, 0.10, 30, 2.0, 2.0, 0.0),
        ("ETH/USDT", "market", "holding_period", 20.0, 0.02, 72, None, 1.0, 0.5),
    ]
    names = (
        "symbol", "exit_kind", "exit_cause", "realised", "return", "bars_held", "r_multiple", "fees",
        "funding",
    )  # fmt: skip
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(mae=-0.01, mfe=0.02)


def equity(start: datetime, values: list[float], hours: int = 24) -> pl.DataFrame:
    times = [start + timedelta(hours=hours) * (i + 1) for i in range(len(values))]
    return pl.DataFrame({"known_at": times, "equity": values}).with_columns(
        pl.col("known_at").cast(pl.Datetime("us", "UTC"))
    )


def test_each_symbol_answers_for_its_own_trades() -> None:
    frame = by_symbol(trades())
    assert frame["symbol"].to_list() == ["BTC/USDT", "ETH/USDT"]
    assert frame["trades"].to_list() == [2, 1]
    assert frame["realised"].to_list() == [50.0, 20.0]
    assert frame["win_rate"].to_list() == [0.5, 1.0]
    assert frame["profit_factor"].to_list() == [2.0, None]
    assert frame["expectancy_r"].to_list() == [0.5, None]
    assert frame["mean_bars_held"].to_list() == [20.0, 72.0]
    assert frame["funding"].to_list() == [0.0, 0.5]


def test_exits_are_told_apart_by_kind_and_cause() -> None:
    frame = by_exit(trades())
    assert frame.select("exit_kind", "exit_cause", "realised").rows() == [
        ("market", "signal", 100.0),
        ("market", "holding_period", 20.0),
        ("stop_loss", "signal", -50.0),
    ]


def test_without_trades_the_tables_are_empty_and_whole() -> None:
    assert by_symbol(trades().clear()).is_empty()
    assert by_symbol(trades().clear()).columns == by_symbol(trades()).columns


def test_the_bar_known_at_midnight_closes_the_old_month() -> None:
    start = datetime(2024, 1, 30, tzinfo=UTC)
    # known at 31 Jan, 1 Feb, 2 Feb
    months = monthly_returns(equity(start, [110.0, 121.0, 60.5]), 100.0)
    assert months.select("year", "month").rows() == [(2024, 1), (2024, 2)]
    assert months["return"].to_list() == pytest.approx([0.21, -0.5])


def test_a_year_is_what_its_months_compound_to() -> None:
    start = datetime(2023, 12, 15, tzinfo=UTC)
    months = monthly_returns(equity(start, [100.0 * 1.01**i for i in range(1, 61)]), 100.0)
    wide = calendar(months)
    assert wide.columns == ["year", *map(str, range(1, 13)), "total"]
    assert wide["year"].to_list() == [2023, 2024]
    assert wide["3"].to_list() == [None, None]
    assert wide["12"].to_list() == [pytest.approx(1.01**17 - 1), None]
    assert wide["total"].to_list() == pytest.approx([1.01**17 - 1, 1.01**43 - 1])


def test_after_a_bankruptcy_a_month_has_no_return() -> None:
    start = datetime(2024, 1, 31, tzinfo=UTC)
    months = monthly_returns(equity(start, [0.0, 0.0]), 100.0)["return"].to_list()
    assert months[0] == -1.0
    assert math.isnan(months[1])


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=400))
def test_all_months_together_are_the_total_return(values: list[float]) -> None:
    months = monthly_returns(equity(datetime(2023, 11, 3, 7, tzinfo=UTC), values), 1000.0)
    assert np.prod(1.0 + months["return"].to_numpy()) == pytest.approx(values[-1] / 1000.0)


def test_the_trend_is_known_before_the_bar_it_labels() -> None:
    benchmark = np.array([100.0, 101.0, 99.0, 98.0, 103.0, 90.0])
    # bar 2 (from 99) sees 99 against 100; bar 3 sees 98 against 101; bar 4 sees 103 against 99
    assert trend_regimes(benchmark, 2).to_list() == [None, None, "bear", "bear", "bull"]
    assert trend_regimes(benchmark[:3], 2).to_list() == [None, None]


def test_stress_is_the_markets_and_known_before_the_bar_it_labels() -> None:
    ratio = np.log([[2.0, 2.0], [4.0, 0.25], [0.5, math.nan], [math.nan, math.nan], [1.4, 9.0]])
    storm = math.log(1.5)
    assert stress_regimes(ratio, storm).to_list() == [None, "storm", "normal", "calm", None]
    assert stress_regimes(ratio[:0], storm).to_list() == []


@given(st.lists(st.floats(1.0, 1e3), min_size=4, max_size=40), st.integers(1, 6), st.data())
def test_cutting_the_future_changes_no_regime(
    values: list[float], bars: int, data: st.DataObject
) -> None:
    series = np.array(values)
    cut = data.draw(st.integers(2, len(values)))
    assert (
        trend_regimes(series[:cut], bars).to_list()
        == (trend_regimes(series, bars).to_list()[: cut - 1])
    )
    stress = np.log(series / 30.0)[:, None]
    assert (
        stress_regimes(stress[:cut], 0.4).to_list() == stress_regimes(stress, 0.4).to_list()[:cut]
    )


def test_each_regime_earns_what_its_bars_did() -> None:
    returns = np.array([0.1, -0.5, 0.2, 0.05])
    regimes = pl.Series(["calm", "storm", None, "calm"])
    frame = by_regime(returns, regimes, HOURS, benchmark=np.array([0.0, -0.6, 0.0, 0.1]))
    assert frame["regime"].to_list() == ["calm", "storm"]
    assert frame["bars"].to_list() == [2, 1]
    assert frame["share"].to_list() == [0.5, 0.25]
    assert frame["total_return"].to_list() == pytest.approx([1.1 * 1.05 - 1, -0.5])
    assert frame["max_drawdown"].to_list() == pytest.approx([0.0, -0.5])
    assert frame["buy_and_hold"].to_list() == pytest.approx([0.1, -0.6])
    assert frame["sharpe"].to_list() == [pytest.approx(0.075 / 0.0353553391 * HOURS**0.5), None]


def test_one_label_a_bar_is_needed() -> None:
    with pytest.raises(ValueError, match="1 regimes for 2 bars"):
        by_regime(np.zeros(2), pl.Series(["calm"]), HOURS)
