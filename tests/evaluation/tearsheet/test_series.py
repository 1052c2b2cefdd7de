from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics import drawdowns, sharpe
from evaluation.tearsheet import TrackRecord, thinned
from evaluation.tearsheet.series import build_curve, build_distribution

Build = Callable[..., TrackRecord]


def test_the_rolling_sharpe_ratio_is_that_of_the_last_thirty_days(build_record: Build) -> None:
    returns = np.random.default_rng(2).normal(0, 0.01, 800)
    values = 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + returns]))
    rolling = build_curve(build_record(values.tolist()), None)["rolling_sharpe"]
    assert rolling[:719].null_count() == 719
    assert rolling[719] == pytest.approx(sharpe(returns[:720], 8760.0))
    assert rolling[799] == pytest.approx(sharpe(returns[80:], 8760.0))


def test_a_record_that_stands_still_has_no_rolling_sharpe_ratio(build_record: Build) -> None:
    curve = build_curve(build_record([100.0] * 800), None)
    assert curve["rolling_sharpe"].null_count() == 799
    assert curve["buy_and_hold"].null_count() == 799


def test_days_are_counted_in_bins_around_zero(build_record: Build) -> None:
    # from 21:00: three hours of 31 January lose 10 %, 1 February gains 10 %
    record = build_record([100.0, 95.0, 92.0, 90.0, 99.0])
    bins = build_distribution(record, record)
    assert bins["days"].sum() == bins["buy_and_hold_days"].sum() == 2
    assert bins["low"][0] == pytest.approx(-0.1)
    assert bins["high"][-1] == pytest.approx(0.1)
    assert bins["days"][0] == bins["days"][-1] == 1


def curve(values: list[float]) -> pl.DataFrame:
    equity = np.array([1.0, *values])
    other = drawdowns(np.array([1.0, *values[::-1]]))[1:]
    return pl.DataFrame(
        {"equity": equity[1:], "drawdown": drawdowns(equity)[1:], "buy_and_hold_drawdown": other}
    )


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=300), st.integers(1, 12))
def test_thinning_keeps_the_heights_the_depths_and_the_ends(
    values: list[float], points: int
) -> None:
    whole = curve(values)
    thin = thinned(whole, points)
    assert thin.height <= 4 * points + 2
    assert thin["equity"].max() == whole["equity"].max()
    assert thin["equity"].min() == whole["equity"].min()
    assert thin["drawdown"].min() == whole["drawdown"].min()
    assert thin["buy_and_hold_drawdown"].min() == whole["buy_and_hold_drawdown"].min()
    assert thin.row(0) == whole.row(0)
    assert thin.row(-1) == whole.row(-1)


def test_a_short_curve_is_not_thinned() -> None:
    assert thinned(curve([1.0, 2.0, 3.0]), 1).height == 3


def test_a_record_alone_is_thinned_alone(build_record: Build) -> None:
    alone = build_curve(build_record([100.0 + i % 7 for i in range(200)]), None)
    assert thinned(alone, 5).height <= 17
