import json
from datetime import UTC, datetime

import ccxt
import polars as pl
import pytest
import requests

from pipelines.market_simulator import ReplayMarket, running_simulator

HOUR = 3_600_000
NOW = datetime(2024, 1, 8, 5, 30, tzinfo=UTC)
T0 = 1_704_672_000_000  # 2024-01-08T00:00Z


@pytest.fixture
def replayed(replay_folder):
    with running_simulator(ReplayMarket(replay_folder), now=NOW) as simulator:
        yield simulator


def get(simulator, path, **query):
    return requests.get(simulator.base_url + path, params=query, timeout=5)


def test_ccxt_loads_the_markets_with_their_filters(simulate, connect):
    with simulate() as simulator:
        client = connect("binance", simulator.base_url)
        client.load_markets()
    market = client.market("BTC/USDT")
    assert set(client.symbols) == {"BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"}
    assert (market["id"], market["active"], market["type"]) == ("BTCUSDT", True, "spot")
    assert market["precision"]["amount"] == 1e-05
    assert market["precision"]["price"] == 0.01
    assert market["limits"]["cost"]["min"] == 5.0


def test_klines_have_the_twelve_columns_and_types_of_the_venue(replayed):
    rows = get(replayed, "/api/v3/klines", symbol="BTCUSDT", interval="1h").json()
    assert rows[0] == [
        T0,
        "100.00000000",
        "102.00000000",
        "99.50000000",
        "101.00000000",
        "10.00000000",
        T0 + HOUR - 1,
        "1000.50000000",
        7,
        "5.00000000",
        "500.00000000",
        "0",
    ]


def test_what_the_file_does_not_know_is_an_empty_string_and_ccxt_survives_it(replayed, connect):
    client = connect("binance", replayed.base_url)
    row = client.publicGetKlines({"symbol": "BTCUSDT", "interval": "1h", "startTime": T0 + HOUR})[0]
    assert row[5:11] == ["11.12500000", str(T0 + 2 * HOUR - 1), "", "", "", ""]
    assert client.fetch_ohlcv("BTC/USDT", "1h")[1] == [
        T0 + HOUR,
        101.0,
        103.5,
        100.0,
        102.0,
        11.125,
    ]


def test_the_last_row_is_the_unfinished_candle(replayed):
    rows = get(replayed, "/api/v3/klines", symbol="BTCUSDT", interval="1h", limit=1).json()
    assert [rows[0][0], *rows[0][1:6]] == [T0 + 5 * HOUR, *["105.00000000"] * 4, "0.00000000"]


@pytest.mark.parametrize(
    ("query", "hours"),
    [
        ({"startTime": T0 + HOUR, "limit": 2}, [1, 3]),
        ({"endTime": T0 + 4 * HOUR, "limit": 2}, [3, 4]),
        ({"startTime": T0 + HOUR, "endTime": T0 + 3 * HOUR}, [1, 3]),
        ({"startTime": T0 + HOUR + 1, "limit": 1}, [3]),
        ({"limit": 2}, [4, 5]),
        ({"startTime": T0 + 4 * HOUR, "endTime": T0}, []),
    ],
)
def test_start_end_and_limit_mean_what_they_mean_at_the_venue(replayed, query, hours):
    rows = get(replayed, "/api/v3/klines", symbol="BTCUSDT", interval="1h", **query).json()
    assert [(row[0] - T0) // HOUR for row in rows] == hours


@pytest.mark.parametrize(("limit", "rows"), [(None, 500), (1000, 1000), (5000, 1000)])
def test_a_page_has_500_rows_and_at_most_1000(simulate, limit, rows):
    query = {"symbol": "BTCUSDT", "interval": "1h", **({"limit": limit} if limit else {})}
    with simulate() as simulator:
        assert len(get(simulator, "/api/v3/klines", **query).json()) == rows


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"symbol": "NOPEUSDT", "interval": "1h"}, -1121),
        ({"symbol": "BTCUSDT", "interval": "7h"}, -1120),
        ({"symbol": "BTCUSDT"}, -1102),
        ({"interval": "1h"}, -1102),
        ({"symbol": "BTCUSDT", "interval": "1h", "startTime": "yesterday"}, -1100),
        ({"symbol": "BTCUSDT", "interval": "1h", "limit": "-5"}, -1100),
    ],
)
def test_refusals_have_the_venues_codes(replayed, query, code):
    answer = get(replayed, "/api/v3/klines", **query)
    assert answer.status_code == 400
    assert answer.json()["code"] == code
    assert answer.json()["msg"]


def test_ccxt_raises_bad_symbol(replayed, connect):
    client = connect("binance", replayed.base_url)
    with pytest.raises(ccxt.BadSymbol):
        client.publicGetKlines({"symbol": "NOPEUSDT", "interval": "1h"})


def test_the_venues_time_is_the_simulated_clock(replayed, connect):
    client = connect("binance", replayed.base_url)
    assert client.fetch_time() == T0 + 5 * HOUR + HOUR // 2


def test_a_delisted_market_breaks_and_one_not_yet_listed_is_unknown(replayed):
    info = get(replayed, "/api/v3/exchangeInfo").json()
    assert {s["symbol"]: s["status"] for s in info["symbols"]} == {
        "BTCUSDT": "TRADING",
        "OLDUSDT": "BREAK",
    }
    replayed.clock.set(now=datetime(2023, 12, 9, 3, tzinfo=UTC))
    info = get(replayed, "/api/v3/exchangeInfo").json()
    assert {s["symbol"]: s["status"] for s in info["symbols"]} == {"OLDUSDT": "TRADING"}
    answer = get(replayed, "/api/v3/klines", symbol="BTCUSDT", interval="1h")
    assert answer.json()["code"] == -1121


def test_exchange_info_can_be_asked_of_some_symbols(replayed):
    one = get(replayed, "/api/v3/exchangeInfo", symbol="BTCUSDT").json()["symbols"]
    two = get(replayed, "/api/v3/exchangeInfo", symbols='["BTCUSDT","OLDUSDT"]').json()["symbols"]
    assert [s["symbol"] for s in one] == ["BTCUSDT"]
    assert [s["symbol"] for s in two] == ["BTCUSDT", "OLDUSDT"]
    assert get(replayed, "/api/v3/exchangeInfo", symbols="BTCUSDT").json()["code"] == -1100
    assert get(replayed, "/api/v3/ping").json() == {}


def test_used_weight_is_told_and_exceeding_it_is_refused(simulate, connect):
    with simulate(weight_limits={"binance_spot": 5}) as simulator:
        first = get(simulator, "/api/v3/klines", symbol="BTCUSDT", interval="1h", limit=1)
        second = get(simulator, "/api/v3/klines", symbol="BTCUSDT", interval="1h", limit=1)
        third = get(simulator, "/api/v3/klines", symbol="BTCUSDT", interval="1h", limit=1)
        with pytest.raises(ccxt.DDoSProtection):
            connect("binance", simulator.base_url).fetch_time()
    assert [r.headers["x-mbx-used-weight-1m"] for r in (first, second, third)] == ["2", "4", "6"]
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
    assert json.loads(third.text)["code"] == -1003
    assert 1 <= int(third.headers["retry-after"]) <= 60


@pytest.mark.market
def test_a_real_file_arrives_value_for_value_null_for_null(market_folder):
    frame = pl.read_parquet(market_folder / "ohlcv_1h/binance_spot/SOLUSDT.parquet")
    expected = frame.with_columns(pl.col("open_time").dt.epoch("ms")).rows()
    rows, start = [], 0
    now = datetime(2025, 7, 1, tzinfo=UTC)
    with running_simulator(ReplayMarket(market_folder), now=now) as simulator:
        query = {"symbol": "SOLUSDT", "interval": "1h", "limit": 1000}
        while page := get(simulator, "/api/v3/klines", **query, startTime=start).json():
            start = page[-1][0] + 1
            rows += [
                tuple(None if value == "" else float(value) for value in (*row[:6], *row[7:11]))
                for row in page
            ]
    assert rows == expected
