from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from pipelines.errors import ConfigError
from pipelines.market_simulator.bars import (
    CLOSE,
    HIGH,
    HOUR,
    LOW,
    MINUTE,
    OPEN,
    QUOTE_VOLUME,
    TAKER_QUOTE,
    TRADES,
    VOLUME,
    Request,
)
from pipelines.market_simulator.clock import milliseconds
from pipelines.market_simulator.replay import ReplayMarket


def at(hour, minute=0, day=8):
    return milliseconds(datetime(2024, 1, day, hour, minute, tzinfo=UTC))


def fetch(market, symbol, now, timeframe=HOUR, first=0, limit=10**6):
    item = next(item for item in market.instruments if item.symbol == symbol)
    return market.bars(item, timeframe, Request(first, now, limit, False, now))


def test_closed_bars_are_the_files_and_gaps_stay_gaps(replay_folder):
    bars = fetch(ReplayMarket(replay_folder), "BTC/USDT", at(6))
    assert bars.open_time.tolist() == [at(0), at(1), at(3), at(4), at(5)]
    assert bars.values[CLOSE].tolist() == [101.0, 102.0, 104.0, 105.0, 106.25]
    np.testing.assert_array_equal(bars.values[TRADES], [7, np.nan, 9, 10, 11])


def test_the_bar_in_progress_shows_its_open_and_nothing_else(replay_folder):
    bars = fetch(ReplayMarket(replay_folder), "BTC/USDT", at(5, 59))
    assert bars.open_time[-1] == at(5)
    assert bars.values[:, -1].tolist() == [105.0, 105.0, 105.0, 105.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_a_bar_in_progress_keeps_its_nulls(replay_folder):
    last = fetch(ReplayMarket(replay_folder), "BTC/USDT", at(1, 30)).values[:, -1]
    assert np.isnan(last[[QUOTE_VOLUME, TRADES, TAKER_QUOTE]]).all()
    assert last[VOLUME] == 0.0


def test_no_bar_is_in_progress_in_a_gap(replay_folder):
    bars = fetch(ReplayMarket(replay_folder), "BTC/USDT", at(2, 30))
    assert bars.open_time.tolist() == [at(0), at(1)]


def test_a_coarse_bar_in_progress_adds_up_what_had_closed(replay_folder):
    market = ReplayMarket(replay_folder)
    bars = fetch(market, "BTC/USDT", at(3, 30), 4 * HOUR)
    assert bars.open_time.tolist() == [at(0)]
    assert bars.values[[OPEN, HIGH, LOW, CLOSE, VOLUME], 0].tolist() == [
        100,
        103.5,
        99.5,
        103,
        21.125,
    ]
    done = fetch(market, "BTC/USDT", at(5), 4 * HOUR)
    assert done.values[[OPEN, HIGH, LOW, CLOSE, VOLUME], 0].tolist() == [
        100,
        105,
        99.5,
        104,
        34.125,
    ]
    assert np.isnan(done.values[QUOTE_VOLUME, 0])


def test_timeframes_finer_than_the_files_have_no_bars(replay_folder):
    assert len(fetch(ReplayMarket(replay_folder), "BTC/USDT", at(6), MINUTE)) == 0


def test_a_market_that_ends_early_was_delisted_at_its_last_close(replay_folder):
    ends = {item.id: item.delisted_at for item in ReplayMarket(replay_folder).instruments}
    assert ends == {
        "BTCUSDT": None,
        "OLDUSDT": milliseconds(datetime(2023, 12, 9, 6, tzinfo=UTC)),
        "KRW-BTC": None,
    }


def test_ticks_and_lots_are_the_finest_of_the_file(replay_folder):
    first = ReplayMarket(replay_folder).instruments[0]
    assert (first.id, first.tick, first.lot, first.listed_at) == ("BTCUSDT", 0.01, 0.001, at(0))


def test_funding_is_known_when_it_is_published(replay_folder):
    market = ReplayMarket(replay_folder)
    item = next(item for item in market.instruments if item.exchange == "binance_perp")
    times, rates = market.funding(item, at(3, 59))
    assert (times.tolist(), rates.tolist()) == ([at(0)], [0.0001])
    assert market.funding(item, at(4))[1].tolist() == [0.0001, -0.00025]
    assert len(market.open_interest(item, at(4))[0]) == 0


def test_a_folder_without_bars_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no bars to replay"):
        ReplayMarket(tmp_path)


def test_a_file_without_a_column_is_refused(replay_folder):
    file = replay_folder / "ohlcv_1h/binance_spot/BTCUSDT.parquet"
    pl.read_parquet(file).drop("volume").write_parquet(file)
    with pytest.raises(ConfigError, match="no column volume"):
        ReplayMarket(replay_folder)


def test_a_file_out_of_order_is_refused(replay_folder):
    file = replay_folder / "ohlcv_1h/binance_spot/BTCUSDT.parquet"
    pl.read_parquet(file).reverse().write_parquet(file)
    with pytest.raises(ConfigError, match="not ascending"):
        ReplayMarket(replay_folder)


@pytest.mark.market
def test_real_files_are_served_bar_for_bar(market_folder):
    market = ReplayMarket(market_folder)
    now = milliseconds(datetime(2025, 7, 1, tzinfo=UTC))
    for item in market.instruments:
        file = market_folder / "ohlcv_1h" / item.exchange / f"{item.id}.parquet"
        if not file.is_file():
            continue
        frame = pl.read_parquet(file)
        bars = fetch(market, item.symbol, now)
        assert bars.open_time.tolist() == frame["open_time"].dt.epoch("ms").to_list()
        for row, column in ((OPEN, "open"), (CLOSE, "close"), (VOLUME, "volume")):
            np.testing.assert_array_equal(bars.values[row], frame[column].to_numpy())


@pytest.mark.market
def test_real_delistings_are_seen(market_folder):
    found = {i.id: i.delisted_at for i in ReplayMarket(market_folder).instruments if i.delisted_at}
    assert found == {
        "MATICUSDT": milliseconds(datetime(2024, 9, 10, 2, tzinfo=UTC)),
        "XMRUSDT": milliseconds(datetime(2024, 2, 20, 2, tzinfo=UTC)),
    }
