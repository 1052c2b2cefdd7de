"""The grid: windows count time, a gap stays a gap, and the written policy decides what is valid."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.grid import Grid, ema_window, ratio, required_bars, wilder_window
from features.matrix import build_matrix

HOUR = timedelta(hours=1)
T0 = datetime(2024, 6, 1, tzinfo=UTC)


def closes(values: list[float | None], symbol: str = "BTC/USDT") -> pl.DataFrame:
    """Return flat bars with these closes, an hour apart; None is a missing bar."""
    rows = [(T0 + i * HOUR, value) for i, value in enumerate(values) if value is not None]
    price = [value for _, value in rows]
    known_at = pl.Series([at for at, _ in rows], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        {
            "venue": ["binance"] * len(rows),
            "symbol": [symbol] * len(rows),
            "known_at": known_at,
            "open": price,
            "high": price,
            "low": price,
            "close": price,
            "volume": [1.0] * len(rows),
        }
    )


def grid_of(values: list[float | None]) -> Grid:
    bars = closes(values)
    hours = (bars["known_at"].dt.timestamp("us") // 3_600_000_000).to_numpy()
    return Grid(bars, ["BTC/USDT"], np.zeros(len(hours), np.int64), hours, HOUR)


@pytest.mark.parametrize(
    ("window", "bars"), [(1, 1), (14, 14), (19, 19), (20, 19), (24, 23), (72, 69), (168, 160)]
)
def test_ninety_five_in_a_hundred_bars_are_required(window: int, bars: int) -> None:
    assert required_bars(window) == bars


def test_a_missing_bar_is_a_hole_in_the_grid_and_the_returns_beside_it_are_missing() -> None:
    grid = grid_of([100.0, 110.0, None, 120.0, 132.0])
    np.testing.assert_array_equal(grid.close, [[100.0, 110.0, np.nan, 120.0, 132.0]])
    np.testing.assert_allclose(
        grid.log_return, [[np.nan, np.log(1.1), np.nan, np.nan, np.log(1.1)]]
    )


def test_a_return_over_a_window_needs_both_ends_and_nineteen_bars_of_twenty() -> None:
    values: list[float | None] = [100.0 + i for i in range(30)]
    values[3] = None
    change = grid_of(values)
    window = change.complete(change.log_close - change.lag(change.log_close, 24), 25)
    # Bars 24 to 28 look over the one missing bar (24 of 25 present: valid), but bar 27 begins at it.
    assert np.flatnonzero(np.isfinite(window[0])).tolist() == [24, 25, 26, 28, 29]
    values[5] = None
    change = grid_of(values)
    window = change.complete(change.log_close - change.lag(change.log_close, 24), 25)
    assert np.flatnonzero(np.isfinite(window[0])).tolist() == [28]


def test_an_exponential_mean_is_cut_at_five_spans_and_its_weights_sum_to_one() -> None:
    grid = grid_of([100.0] * 9 + [200.0] + [100.0] * 40)
    decay = 1 - 2 / 3
    weights = decay ** np.arange(ema_window(2))
    mean = grid.ema(grid.close, 2)[0]
    assert ema_window(2) == 10
    np.testing.assert_allclose(mean[9:19], 100 + 100 * weights / weights.sum())
    np.testing.assert_allclose(mean[19:], 100.0, rtol=1e-15)


def test_wilder_smoothing_is_cut_at_ten_windows() -> None:
    grid = grid_of([1.0] + [0.0] * 60)
    smooth = grid.wilder(grid.close, 4)[0]
    assert wilder_window(4) == 40
    assert smooth[39] > 0
    assert smooth[40] == 0


def test_a_frame_of_the_grid_has_null_rows_where_bars_are_missing() -> None:
    frame = grid_of([100.0, None, 121.0]).frame(
        ["symbol", "venue", "known_at", "open_time", "close"]
    )
    assert frame.rows() == [
        ("BTC/USDT", "binance", T0, T0 - HOUR, 100.0),
        ("BTC/USDT", "binance", T0 + HOUR, T0, None),
        ("BTC/USDT", "binance", T0 + 2 * HOUR, T0 + HOUR, 121.0),
    ]


def test_the_market_of_a_coin_is_the_first_of_the_venue_by_name() -> None:
    bars = closes([1.0])
    names = {"rows": np.arange(3), "numbers": np.full(3, 474_768)}
    three = pl.concat([bars, bars, bars])
    grid = Grid(three, ["ADA/USDT", "BTC/USDT", "BTC/EUR"], names["rows"], names["numbers"], HOUR)
    assert grid.market("BTC") == 2
    grid = Grid(three, ["ADA/USDT", "WBTC/USDT", "ETH/BTC"], names["rows"], names["numbers"], HOUR)
    assert grid.market("BTC") is None


def test_a_ratio_over_nothing_is_undefined() -> None:
    with np.errstate(all="ignore"):
        given_ratio = ratio(np.array([1.0, 0.0, -1.0]), np.array([0.0, 0.0, 2.0]))
    np.testing.assert_array_equal(given_ratio, [np.nan, np.nan, -0.5])


@given(st.sets(st.integers(0, 59), max_size=40), st.integers(0, 1_000))
def test_only_windows_with_enough_bars_have_values_whatever_the_gaps(
    missing: set[int], seed: int
) -> None:
    prices = np.exp(np.random.default_rng(seed).normal(0, 0.02, 60).cumsum()) * 50
    values = [None if i in missing else float(p) for i, p in enumerate(prices)]
    bars = closes(values)
    names = ["stochastic_14", "bollinger_position_24", "log_return_24"]
    matrix = build_matrix(bars, timeframe=HOUR, names=names)
    assert matrix["known_at"].to_list() == bars["known_at"].to_list()
    for at, row in zip(matrix["known_at"], matrix.iter_rows(named=True), strict=True):
        i = (at - T0) // HOUR
        present = [j in range(60) and j not in missing for j in range(i - 24, i + 1)]
        assert (row["stochastic_14"] is not None) == (sum(present[-14:]) >= 14)
        assert (row["bollinger_position_24"] is not None) == (sum(present[-24:]) >= 23)
        ends = present[0] and present[-1]
        assert (row["log_return_24"] is not None) == (ends and sum(present) >= 24)
