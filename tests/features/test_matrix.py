"""The matrix builder: the rows of the bars, float32 and null, and refusals by name."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from features import matrix as matrix_module
from features import pieces as pieces_module
from features.as_of_join import SOURCE_COLUMNS
from features.grid import Grid
from features.kernels import Array
from features.matrix import build_matrix, compute
from features.registry import define, registered, required_lookback

HOUR = timedelta(hours=1)
SOME = ["realised_vol_72", "atr_14", "return_rank_24", "hour_sin"]


def test_the_rows_are_those_of_the_bars_in_their_order(make_bars) -> None:
    bars = make_bars(200).sample(fraction=0.97, shuffle=True, seed=3)
    matrix = build_matrix(bars, timeframe=HOUR, names=SOME)
    keys = ["venue", "symbol", "known_at"]
    assert matrix.columns == [*keys, *SOME]
    assert matrix.select(keys).equals(bars.select(keys))
    ordered = build_matrix(bars.sort(keys), timeframe=HOUR, names=SOME)
    assert ordered.equals(matrix.sort(keys))


def test_values_are_float32_and_what_is_not_valid_is_null(make_bars) -> None:
    matrix = build_matrix(make_bars(120), timeframe=HOUR)
    columns = matrix.drop("venue", "symbol", "known_at")
    assert set(columns.dtypes) == {pl.Float32()}
    assert all(columns[name].drop_nulls().is_finite().all() for name in columns.columns)
    assert columns["log_return_720"].null_count() == 360
    first = matrix.filter(pl.col("symbol") == "BTC/USDT")["realised_vol_72"]
    # 69 returns of 72 are 95 %: the first value stands at the 70th bar.
    assert first.is_null().arg_min() == 69


def test_all_registered_features_are_computed_by_default(make_bars) -> None:
    matrix = build_matrix(make_bars(30), timeframe=HOUR)
    assert matrix.columns[3:] == [feature.name for feature in registered()]


def test_no_bars_give_no_rows_with_all_columns(make_bars) -> None:
    matrix = build_matrix(make_bars(10).clear(), timeframe=HOUR, names=SOME)
    assert matrix.shape == (0, 7)
    assert matrix.dtypes[3:] == [pl.Float32()] * 4


def test_pieces_and_threads_do_not_show_in_the_values(make_bars, monkeypatch) -> None:
    bars = make_bars(1600).sample(fraction=0.99, shuffle=True, seed=5)
    whole = build_matrix(bars, timeframe=HOUR)
    monkeypatch.setattr(pieces_module, "CHUNK_CELLS", 1000)
    monkeypatch.setattr(matrix_module, "CHUNK_CELLS", 1000)
    monkeypatch.setattr(pieces_module, "PANEL_CELLS", 600)
    monkeypatch.setattr(pieces_module, "PANEL_LOOKBACKS", 0)
    for threads in (1, 3):
        monkeypatch.setattr(matrix_module, "THREADS", threads)
        pieces = build_matrix(bars, timeframe=HOUR)
        assert pieces.equals(whole)


@pytest.mark.parametrize("fresh", [1, 50, 400])
def test_the_newest_rows_alone_are_those_of_the_whole_history(make_bars, fresh: int) -> None:
    bars = make_bars(1600).sample(fraction=0.99, shuffle=True, seed=7)
    newest = bars["known_at"].max()
    # One symbol ended just before them.
    since = newest - fresh * HOUR
    gone = (pl.col("symbol") == "ADA/USDT") & (pl.col("known_at") > since - 3 * HOUR)
    bars = bars.filter(~gone)
    known_at = pl.col("known_at")
    held = bars.filter(known_at > since - required_lookback() * HOUR)
    expected = build_matrix(bars, timeframe=HOUR).filter(known_at > since)
    assert build_matrix(held, timeframe=HOUR, since=since).equals(expected)
    assert expected.height > fresh


def test_no_row_after_the_newest_is_given(make_bars) -> None:
    bars = make_bars(40)
    matrix = build_matrix(bars, timeframe=HOUR, names=SOME, since=bars["known_at"].max())
    assert matrix.shape == (0, 7)


def test_order_flow_is_null_where_the_venue_has_none(make_bars) -> None:
    bars = make_bars(300)
    blind = bars.with_columns(
        trades=pl.when(pl.col("symbol") != "ADA/USDT").then("trades"),
        taker_buy_volume=pl.when(pl.col("symbol") != "ADA/USDT").then("taker_buy_volume"),
    )
    needy = [feature.name for feature in registered(("orderflow",)) if feature.needs]
    matrix = build_matrix(blind, timeframe=HOUR, names=needy)
    ada = matrix.filter(pl.col("symbol") == "ADA/USDT")
    assert len(needy) == 14
    assert all(ada[name].null_count() == ada.height for name in needy)
    sighted = matrix.filter(pl.col("symbol") != "ADA/USDT")
    full = build_matrix(bars, timeframe=HOUR, names=needy).filter(pl.col("symbol") != "ADA/USDT")
    assert sighted.equals(full)


def test_venues_do_not_see_each_other(make_bars) -> None:
    binance = make_bars(260)
    upbit = make_bars(260, ("BTC/KRW", "ETH/KRW"), seed=11).with_columns(venue=pl.lit("upbit"))
    both = build_matrix(pl.concat([upbit, binance]), timeframe=HOUR)
    assert both.filter(pl.col("venue") == "upbit").equals(build_matrix(upbit, timeframe=HOUR))
    assert both.filter(pl.col("venue") == "binance").equals(build_matrix(binance, timeframe=HOUR))


def test_contracts_have_the_features_of_the_same_bars_of_pairs(make_bars) -> None:
    pairs = make_bars(260)
    contracts = pairs.with_columns(symbol=pl.col("symbol") + ":USDT")
    matrix = build_matrix(contracts, timeframe=HOUR)
    assert matrix["symbol"].unique().sort().to_list() == [
        "ADA/USDT:USDT", "BTC/USDT:USDT", "ETH/USDT:USDT"
    ]  # fmt: skip
    spot = build_matrix(pairs, timeframe=HOUR)
    assert matrix.drop("symbol").equals(spot.drop("symbol"))
    assert spot["btc_correlation_168"].null_count() < spot.height


def test_a_universe_of_one_has_no_cross_asset_columns(make_bars) -> None:
    panel = [feature.name for feature in registered() if feature.scope == "panel"]
    matrix = build_matrix(make_bars(300, ("BTC/USDT",)), timeframe=HOUR, names=panel)
    assert all(matrix[name].null_count() == 300 for name in panel)


def test_without_bitcoin_only_the_columns_against_it_are_null(make_bars) -> None:
    of_bars = [one for one in registered() if not SOURCE_COLUMNS.keys() & set(one.needs)]
    panel = [one.name for one in of_bars if one.scope == "panel"]
    bars = make_bars(300, ("ADA/USDT", "ETH/USDT", "LTC/USDT"))
    newest = (
        build_matrix(bars, timeframe=HOUR, names=panel).tail(1).drop("venue", "symbol", "known_at")
    )
    null = {name for name in panel if newest[name].null_count()}
    against_bitcoin = {one.name for one in registered() if "BTC" in one.markets}
    assert null == against_bitcoin
    assert {"btc_beta_168", "residual_momentum_24_168", "eth_btc_return_168"} <= null


def test_a_key_that_repeats_is_refused(make_bars) -> None:
    bars = make_bars(5)
    with pytest.raises(ValueError, match=r"repeat a key \(first ADA/USDT at 2024-01-03 06:00"):
        build_matrix(pl.concat([bars, bars.head(1)]), timeframe=HOUR, names=SOME)


def test_bars_off_the_grid_are_refused(make_bars) -> None:
    bars = make_bars(5).with_columns(pl.col("known_at") + timedelta(minutes=5))
    with pytest.raises(ValueError, match="15 bars are off the grid of 1:00:00"):
        build_matrix(bars, timeframe=HOUR, names=SOME)


def test_an_unknown_name_is_refused_with_the_nearest(make_bars) -> None:
    with pytest.raises(ValueError, match=r"'atr_15' is not registered, did you mean 'atr_14'"):
        build_matrix(make_bars(5), timeframe=HOUR, names=["atr_15"])


def raises(grid: Grid) -> Array:
    """Division by zero [count]"""
    return grid.close / (1 // 0)


def too_short(grid: Grid) -> Array:
    """A column short of a bar [quote]"""
    return grid.close[:, 1:]


def wrong_dtype(grid: Grid) -> Array:
    """Integers [quote]"""
    return grid.close.astype(np.int32)  # type: ignore[return-value]


def short_expression() -> pl.Expr:
    """The first bars only [quote]"""
    return pl.col("close").head(3)


def text_expression() -> pl.Expr:
    """A name [text]"""
    return pl.col("symbol")


def no_such_column() -> pl.Expr:
    """A column that bars do not have [quote]"""
    return pl.col("close") - pl.col("closing")


def not_an_expression() -> pl.Expr:
    """A number [count]"""
    return 1.0  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (raises, "modulo by zero"),
        (too_short, r"returned float64 \(3, 4\), not float64 \(3, 5\)"),
        (wrong_dtype, r"returned int32"),
        (short_expression, "length"),
        (text_expression, "returned String"),
        (no_such_column, "bars have no column closing"),
        (not_an_expression, "must return a pl.Expr, not float"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_feature_that_fails_is_named(broken, reason: str, make_bars) -> None:
    good = [feature for feature in registered() if feature.name in SOME]
    with pytest.raises(ValueError, match=f"feature '{broken.__name__}'.*{reason}"):
        compute(make_bars(5), [*good, *define(broken, lookback=1)], timeframe=HOUR)


def test_the_longest_lookback_is_that_of_a_month() -> None:
    assert required_lookback() == 721
    assert required_lookback(["atr_14", "hour_sin"]) == 141
    assert required_lookback([]) == 1
