import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import metrics

HOURS = 8760.0


def test_returns_start_from_the_capital() -> None:
    assert metrics.bar_returns(np.array([100.0, 110.0, 99.0])).tolist() == pytest.approx(
        [0.1, -0.1]
    )
    assert metrics.total_return(np.array([100.0, 110.0, 99.0])) == pytest.approx(-0.01)


def test_annual_return_compounds_over_24_7_bars() -> None:
    equity = np.linspace(100.0, 121.0, 2 * 8760 + 1)
    assert metrics.annual_return(equity, HOURS) == pytest.approx(0.1)


def test_sharpe_and_volatility_by_hand() -> None:
    returns = np.array([0.01, -0.01, 0.02, 0.0])
    # mean 0.005, sample deviation 0.0129099
    assert metrics.volatility(returns, HOURS) == pytest.approx(
        0.0129099 * math.sqrt(8760), rel=1e-5
    )
    assert metrics.sharpe(returns, HOURS) == pytest.approx(0.3872983 * math.sqrt(8760), rel=1e-6)


def test_sortino_divides_by_the_downside_over_all_bars() -> None:
    returns = np.array([0.01, -0.01, 0.02, 0.0])
    # downside sqrt(0.0001 / 4) = 0.005
    assert metrics.sortino(returns, HOURS) == pytest.approx(math.sqrt(8760))


def test_drawdown_depth_and_length() -> None:
    equity = np.array([100.0, 120.0, 90.0, 110.0, 121.0, 120.0])
    assert metrics.max_drawdown(equity) == pytest.approx(-0.25)
    assert metrics.max_drawdown_bars(equity) == 2
    assert metrics.max_drawdown_bars(np.array([100.0, 101.0])) == 0
    assert metrics.max_drawdown_bars(np.array([100.0, 99.0, 98.0])) == 2


def test_calmar_is_growth_over_depth() -> None:
    equity = np.concatenate([[100.0, 80.0], np.linspace(80, 110, 8759)])
    assert metrics.calmar(equity, HOURS) == pytest.approx(0.1 / 0.2, rel=1e-3)


def test_turnover_counts_both_sides_a_year() -> None:
    equity = np.full(8761, 100.0)
    assert metrics.turnover(200.0, equity, HOURS) == pytest.approx(2.0)


def test_trade_statistics() -> None:
    gains = np.array([10.0, -5.0, 15.0, 0.0])
    assert metrics.win_rate(gains) == 0.5
    assert metrics.profit_factor(gains) == 5.0
    assert metrics.exposure(np.array([50.0, 0.0]), np.array([100.0, 100.0])) == 0.25


def test_what_divides_by_nothing_is_nan() -> None:
    flat = np.full(5, 100.0)
    none = np.array([])
    assert math.isnan(metrics.sharpe(metrics.bar_returns(flat), HOURS))
    assert math.isnan(metrics.sortino(metrics.bar_returns(flat), HOURS))
    assert math.isnan(metrics.calmar(flat, HOURS))
    assert math.isnan(metrics.win_rate(none))
    assert math.isnan(metrics.profit_factor(np.array([1.0])))
    assert math.isnan(metrics.volatility(np.array([0.1]), HOURS))
    assert math.isnan(metrics.annual_return(np.array([100.0, 0.0]), HOURS))
    assert math.isnan(metrics.total_return(np.array([100.0])))


@given(st.lists(st.floats(1.0, 1e6), min_size=2, max_size=50))
def test_drawdowns_lie_between_ruin_and_nothing(values: list[float]) -> None:
    equity = np.array(values)
    assert -1 <= metrics.max_drawdown(equity) <= 0
    assert 0 <= metrics.max_drawdown_bars(equity) <= equity.size - 1


def test_the_summary_holds_every_metric() -> None:
    summary = metrics.summarise(
        np.array([100.0, 110.0, 105.0]), np.array([50.0, 50.0]), np.array([-5.0]),
        traded=60.0, fees=0.06, fills=2, bars_per_year=HOURS,
    )  # fmt: skip
    assert summary["total_return"] == pytest.approx(0.05)
    assert summary["fees"] == 0.06
    assert summary["trades"] == 1
    assert summary["win_rate"] == 0
