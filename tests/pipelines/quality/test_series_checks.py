from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.quality.series_checks import Hour, check_series, gaps
from pipelines.tables import BARS

START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=1)
HOURS = 100
AS_OF = START + HOURS * STEP


@pytest.fixture
def walk(make_bars):
    """A hundred hours of one symbol whose closes move by about one percent."""
    moves = np.random.default_rng(5).normal(0.0, 0.01, HOURS)
    close = 100 * np.exp(np.cumsum(moves))
    opened = np.concatenate([[100.0], close[:-1]])
    return make_bars(START, hours=HOURS, symbols=("BTC/USDT",)).with_columns(
        open=pl.Series(opened),
        close=pl.Series(close),
        high=pl.Series(np.maximum(opened, close)),
        low=pl.Series(np.minimum(opened, close)),
        quote_volume=pl.Series(10 * (opened + close) / 2),
    )


def failing(window, symbols=("BTC/USDT",)):
    hour = Hour("bars", "binance", symbols, window, START, AS_OF, STEP)
    results = check_series(hour)
    assert sum(result.symbol == "*" for result in results) == 9
    return {
        (result.check, result.symbol): result.observed
        for result in results
        if not result.passed and result.symbol != "*"
    }


def last(window, **values):
    now = pl.col("known_at") == AS_OF
    return window.with_columns(
        pl.when(now).then(value).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def test_an_ordinary_hour_shows_nothing(walk):
    assert failing(walk) == {}


def test_missing_bars_are_named_by_span(walk):
    holes = [START + hour * STEP for hour in (10, 11, 12, 40)]
    found = failing(walk.filter(~pl.col("known_at").is_in(holes)))
    assert list(found) == [("completeness", "BTC/USDT")]
    assert found["completeness", "BTC/USDT"] == (
        "4 bars missing, asked again every hour: "
        "2024-01-01T10:00Z..2024-01-01T12:00Z, 2024-01-02T16:00Z"
    )


def test_a_symbol_that_stopped_or_never_was_is_not_fresh(walk):
    stopped = walk.filter(pl.col("known_at") < AS_OF - 2 * STEP)
    found = failing(stopped, ("BTC/USDT", "ETH/USDT"))
    assert found["freshness", "BTC/USDT"] == "newest bar 2024-01-05T01:00Z"
    assert found["freshness", "ETH/USDT"] == "no bar since 2024-01-01T00:00Z"


def test_a_jump_far_beyond_its_volatility_is_noticed_and_not_refused(walk):
    before = walk["close"][-2]
    hour = Hour("bars", "binance", ["BTC/USDT"], last(walk, close=before * 1.2), START, AS_OF, STEP)
    jumps = [r for r in check_series(hour) if r.check == "jump" and r.symbol != "*"]
    assert [(r.passed, r.hard) for r in jumps] == [(False, False)]
    assert jumps[0].observed.startswith("log return +0.18")


@pytest.mark.parametrize("share", [0.14, 1 / 30765])
def test_a_range_that_a_market_has_had_is_noticed_and_not_refused(walk, share):
    # BTC/KRW on Upbit, 2024-12-03T13:00Z, and a wick of LINK/USDT on Binance.
    window = last(walk, low=walk["close"][-1] * share)
    hour = Hour("bars", "binance", ["BTC/USDT"], window, START, AS_OF, STEP)
    found = [r for r in check_series(hour) if not r.passed and r.symbol != "*"]
    assert [(r.check, r.hard) for r in found] == [("wide_range", False)]


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_a_misplaced_decimal_is_refused(walk, factor):
    prices = {name: walk[name][-1] * factor for name in ("open", "high", "low", "close")}
    hour = Hour("bars", "binance", ["BTC/USDT"], last(walk, **prices), START, AS_OF, STEP)
    ratio = [r for r in check_series(hour) if r.check == "sane_ratio" and r.symbol != "*"]
    assert [(r.passed, r.hard) for r in ratio] == [(False, True)]


def test_a_price_that_moved_over_an_outage_is_not_a_misplaced_decimal(walk):
    hole = walk.filter(pl.col("known_at") != AS_OF - STEP)
    prices = {name: walk[name][-1] * 30 for name in ("open", "high", "low", "close")}
    assert ("sane_ratio", "BTC/USDT") not in failing(last(hole, **prices))


def test_silence_and_a_price_that_stands_still_are_noticed(walk):
    quiet = pl.col("known_at") > AS_OF - 6 * STEP
    silent = walk.with_columns(
        pl.when(quiet).then(0).otherwise(pl.col(name)).alias(name)
        for name in ("volume", "trades", "quote_volume", "taker_buy_volume")
    )
    assert failing(silent) == {("zero_volume", "BTC/USDT"): "6 bars in a row without volume"}
    still = pl.col("known_at") > AS_OF - 13 * STEP
    stuck = walk.with_columns(close=pl.when(still).then(100.0).otherwise("close"))
    found = failing(stuck)
    assert found["constant_price", "BTC/USDT"] == "12 bars in a row at one close, with volume"
    one_less = walk.with_columns(
        close=pl.when(pl.col("known_at") > AS_OF - 12 * STEP).then(100.0).otherwise("close")
    )
    assert ("constant_price", "BTC/USDT") not in failing(one_less)


def test_columns_that_contradict_each_other_are_noticed(walk):
    assert ("quote_volume_agrees", "BTC/USDT") in failing(last(walk, quote_volume=5.0))
    assert ("trades_agree", "BTC/USDT") in failing(last(walk, trades=0))
    unsaid = last(walk, trades=None, quote_volume=None)
    assert failing(unsaid) == {}


def test_gaps_are_counted_from_the_first_bar_or_from_a_start():
    known = [START + hour * STEP for hour in (3, 4, 7)]
    bars = pl.DataFrame(
        {"symbol": ["A"] * 3, "known_at": known},
        schema={name: BARS.schema[name] for name in ("symbol", "known_at")},
    )
    end = START + 9 * STEP
    assert gaps(bars, STEP, end=end).rows() == [
        ("A", START + 5 * STEP, START + 6 * STEP, 2),
        ("A", START + 8 * STEP, START + 9 * STEP, 2),
    ]
    assert gaps(bars, STEP, start=START, end=end)["bars"].to_list() == [2, 2, 2]


@given(held=st.sets(st.integers(1, 30), min_size=1))
def test_bars_and_gaps_together_are_every_hour(held):
    bars = pl.DataFrame(
        {"symbol": ["A"] * len(held), "known_at": [START + hour * STEP for hour in held]},
        schema={name: BARS.schema[name] for name in ("symbol", "known_at")},
    )
    found = gaps(bars, STEP, start=START, end=START + 30 * STEP)
    missing = {
        hour
        for first, last_, _ in found.select("first", "last", "bars").iter_rows()
        for hour in range((first - START) // STEP, (last_ - START) // STEP + 1)
    }
    assert missing == set(range(1, 31)) - held
    assert found["bars"].sum() == len(missing)
