import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import metrics

GAINS = np.array([10.0, -5.0, 15.0, 0.0])


def test_trade_statistics() -> None:
    assert metrics.win_rate(GAINS) == 0.5
    assert metrics.profit_factor(GAINS) == 5.0
    assert metrics.payoff_ratio(GAINS) == 2.5
    assert metrics.expectancy(GAINS) == 5.0


def test_what_divides_by_nothing_is_nan() -> None:
    none = np.array([])
    for figure in (
        metrics.win_rate,
        metrics.profit_factor,
        metrics.payoff_ratio,
        metrics.expectancy,
    ):
        assert math.isnan(figure(none))
    assert math.isnan(metrics.profit_factor(np.array([1.0])))
    assert math.isnan(metrics.payoff_ratio(np.array([1.0])))
    assert math.isnan(metrics.payoff_ratio(np.array([-1.0])))


@given(
    st.lists(
        st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-3), min_size=1, max_size=50
    )
)
def test_expectancy_is_what_rates_and_means_make_of_it(values: list[float]) -> None:
    gains = np.array(values)
    wins, losses = gains[gains > 0], gains[gains < 0]
    expected = sum(side.size / gains.size * side.mean() for side in (wins, losses) if side.size)
    assert metrics.expectancy(gains) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def trades(rows: list[tuple[float, float, int, float | None, float, float]]) -> pl.DataFrame:
    names = ("realised", "return", "bars_held", "r_multiple", "mae", "mfe")
    types = (pl.Float64, pl.Float64, pl.Int64, pl.Float64, pl.Float64, pl.Float64)
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def test_a_frame_of_round_trips_by_name() -> None:
    figures = metrics.trade_metrics(
        trades(
            [
                (10.0, 0.1, 24, 2.0, -0.01, 0.12),
                (-5.0, -0.05, 12, -1.0, -0.06, 0.01),
                (1.0, 0.01, 6, None, -0.02, 0.02),
                (2.0, 0.02, 6, math.nan, -0.03, 0.05),
            ]
        )
    )
    assert figures == pytest.approx(
        {
            "trades": 4.0,
            "win_rate": 0.75,
            "profit_factor": 2.6,
            "payoff_ratio": 13 / 15,
            "expectancy": 2.0,
            "expectancy_r": 0.5,
            "mean_trade_return": 0.02,
            "mean_bars_held": 12.0,
            "mean_mae": -0.03,
            "mean_mfe": 0.05,
        }
    )


def test_no_round_trips_have_a_count_and_nothing_else() -> None:
    figures = metrics.trade_metrics(trades([]))
    assert figures.pop("trades") == 0.0
    assert all(math.isnan(value) for value in figures.values())
