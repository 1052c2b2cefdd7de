import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from pipelines.market_simulator.bars import (
    CLOSE,
    DAY,
    HIGH,
    HOUR,
    LOW,
    MINUTE,
    OPEN,
    QUOTE_VOLUME,
    TAKER_VOLUME,
    TRADES,
    VOLUME,
    Request,
    aggregate,
)
from pipelines.market_simulator.clock import milliseconds
from pipelines.market_simulator.synthetic import SyntheticMarket

NOW = milliseconds(datetime(2024, 6, 1, 14, 20, 5, tzinfo=UTC))


def market_of(market, symbol):
    return next(item for item in market.instruments if item.symbol == symbol)


def fetch(
    market, symbol, timeframe=HOUR, *, first=0, last=2**60, now=NOW, limit=10**6, newest=False
):
    request = Request(first, last, limit, newest, now)
    return market.bars(market_of(market, symbol), timeframe, request)


def closed(bars, now=NOW):
    return bars.take(bars.open_time + bars.timeframe <= now)


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT", "BTC/KRW"])
def test_extending_the_span_changes_nothing(symbol):
    early, late = NOW - 900 * DAY, NOW + 900 * DAY
    short = closed(fetch(SyntheticMarket([symbol]), symbol, now=early), early)
    long = fetch(SyntheticMarket([symbol]), symbol, now=late).take(slice(0, len(short)))
    np.testing.assert_array_equal(short.open_time, long.open_time)
    np.testing.assert_array_equal(short.values, long.values)


def test_a_later_start_cuts_bars_off_and_changes_none():
    full = fetch(SyntheticMarket(["BTC/USDT"]), "BTC/USDT")
    start = datetime(2022, 3, 5, 7, 30, tzinfo=UTC)
    cut = fetch(SyntheticMarket(["BTC/USDT"], start=start), "BTC/USDT")
    assert cut.open_time[0] == milliseconds(datetime(2022, 3, 5, 8, tzinfo=UTC))
    np.testing.assert_array_equal(full.values[:, -len(cut) :], cut.values)


def test_other_symbols_change_nothing():
    alone = fetch(SyntheticMarket(["ETH/USDT"]), "ETH/USDT")
    together = fetch(SyntheticMarket(["XYZ/USDT", "BTC/KRW", "ETH/USDT"]), "ETH/USDT")
    np.testing.assert_array_equal(alone.values, together.values)


def test_another_seed_is_another_history():
    one = fetch(SyntheticMarket(["BTC/USDT"], seed=1), "BTC/USDT")
    two = fetch(SyntheticMarket(["BTC/USDT"], seed=2), "BTC/USDT")
    # Both are at the coin's scale at one instant, and may cross now and then.
    assert np.isclose(one.values[CLOSE], two.values[CLOSE]).mean() < 1e-3


def test_bars_are_valid_and_never_miss_an_hour(synthetic):
    for item in synthetic.instruments:
        bars = fetch(synthetic, item.symbol)
        values = bars.values
        assert (np.diff(bars.open_time) == HOUR).all()
        assert (values[HIGH] >= values[[OPEN, CLOSE]].max(axis=0)).all()
        assert (values[LOW] <= values[[OPEN, CLOSE]].min(axis=0)).all()
        assert (values[LOW] > 0).all()
        assert (values[TAKER_VOLUME] <= values[VOLUME]).all()
        assert (values[TRADES, :-1] >= 1).all()
        vwap = values[QUOTE_VOLUME, :-1] / values[VOLUME, :-1]
        assert (vwap <= values[HIGH, :-1] * 1.0001).all()
        assert (vwap >= values[LOW, :-1] * 0.9999).all()


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT", "BTC/KRW"])
def test_coarse_bars_aggregate_exactly_from_finer_ones(synthetic, symbol):
    begin = NOW - NOW % DAY - 2 * DAY
    span = {"first": begin, "last": begin + 2 * DAY - 1}
    steps = [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, DAY]
    bars = {step: fetch(synthetic, symbol, step, **span) for step in steps}
    for fine, coarse in itertools.pairwise(steps):
        built = aggregate(bars[fine], coarse)
        np.testing.assert_array_equal(built.open_time, bars[coarse].open_time)
        np.testing.assert_array_equal(built.values[:4], bars[coarse].values[:4])
        np.testing.assert_allclose(built.values[4:], bars[coarse].values[4:], rtol=1e-12)


@pytest.mark.parametrize("timeframe", [MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, DAY])
def test_the_bar_in_progress_is_what_was_traded_until_now(synthetic, timeframe):
    last = fetch(synthetic, "BTC/USDT", timeframe, limit=1, newest=True)
    begin = NOW - NOW % timeframe
    assert last.open_time.tolist() == [begin]
    later = fetch(synthetic, "BTC/USDT", MINUTE, first=begin, now=NOW + DAY, limit=2000)
    traded = later.take(later.open_time + MINUTE <= NOW)
    assert last.values[VOLUME, 0] == pytest.approx(traded.values[VOLUME].sum())
    if len(traded):
        assert last.values[CLOSE, 0] == traded.values[CLOSE, -1]
        assert last.values[HIGH, 0] == traded.values[HIGH].max()


def test_nothing_later_than_now_is_served(synthetic):
    for timeframe in (MINUTE, HOUR, DAY):
        bars = fetch(synthetic, "BTC/USDT", timeframe, first=NOW - 3 * DAY, now=NOW, limit=10_000)
        assert bars.open_time[-1] <= NOW
        future = fetch(synthetic, "BTC/USDT", timeframe, first=NOW + 1, now=NOW)
        assert len(future) == 0
    times, _ = synthetic.funding(market_of(synthetic, "BTC/USDT:USDT"), NOW)
    assert times[-1] == NOW - NOW % (8 * HOUR)


@given(offset=st.integers(-1000, 100), limit=st.integers(1, 400), newest=st.booleans())
@settings(max_examples=30)
def test_a_page_of_minutes_is_a_cut_of_all_minutes(synthetic, offset, limit, newest):
    begin = NOW - 3 * DAY
    every = fetch(synthetic, "BTC/USDT", 5 * MINUTE, first=begin, limit=10_000)
    first = max(begin, NOW + offset * 5 * MINUTE)
    part = fetch(synthetic, "BTC/USDT", 5 * MINUTE, first=first, limit=limit, newest=newest)
    inside = every.take(every.open_time >= first)
    expected = inside.take(slice(-limit, None) if newest else slice(0, limit))
    np.testing.assert_array_equal(part.open_time, expected.open_time)
    np.testing.assert_array_equal(part.values, expected.values)


def test_symbols_nobody_knows_have_every_hour_since_2017():
    market = SyntheticMarket([f"C{index}/USDT" for index in range(10)])
    assert [len(fetch(market, item.symbol)) for item in market.instruments] == [59_531] * 10
    scales = [fetch(market, item.symbol, limit=1).values[OPEN, 0] for item in market.instruments]
    assert len(set(scales)) == 10


def test_the_derived_markets_follow_their_coin(synthetic):
    spot, perp, won = (
        fetch(synthetic, s, limit=5000, newest=True).values[CLOSE]
        for s in ("BTC/USDT", "BTC/USDT:USDT", "BTC/KRW")
    )
    assert np.abs(np.log(perp / spot)).max() < 0.003
    assert np.abs(np.log(won / spot / 1300.0)).max() < 0.12


def test_funding_comes_every_eight_hours_and_is_usually_small(synthetic):
    times, rates = synthetic.funding(market_of(synthetic, "BTC/USDT:USDT"), NOW)
    assert (np.diff(times) == 8 * HOUR).all()
    assert (times % (8 * HOUR) == 0).all()
    assert np.median(rates) == pytest.approx(1e-4)
    assert np.abs(rates).max() <= 0.0075
    assert (rates < 0).mean() > 0.05


def test_open_interest_is_hourly_and_positive(synthetic):
    times, interest = synthetic.open_interest(market_of(synthetic, "BTC/USDT:USDT"), NOW)
    assert (np.diff(times) == HOUR).all()
    assert (interest > 0).all()
    assert len(synthetic.funding(market_of(synthetic, "BTC/USDT"), NOW)[0]) == 0


@pytest.mark.parametrize(
    ("symbols", "options", "message"),
    [
        (["BTCUSDT"], {}, "not a unified symbol"),
        (["ETH/BTC"], {}, "cannot be simulated"),
        (["BTC/KRW:KRW"], {}, "cannot be simulated"),
        (["BTC/USDT"], {"signal": 0.9}, "signal 0.9"),
        (["BTC/USDT"], {"signal": -0.1}, "signal -0.1"),
        (["BTC/USDT"], {"start": datetime(2016, 1, 1, tzinfo=UTC)}, "cannot start"),
    ],
)
def test_what_cannot_be_simulated_is_refused(symbols, options, message):
    with pytest.raises(ConfigError, match=message):
        SyntheticMarket(symbols, **options)
