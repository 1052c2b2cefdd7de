from datetime import UTC, datetime

import ccxt
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


def hours(rows):
    return [int(row["candle_date_time_utc"][11:13]) for row in rows]


def test_ccxt_reads_markets_and_candles(replayed, connect):
    client = connect("upbit", replayed.base_url)
    client.load_markets()
    assert client.symbols == ["BTC/KRW"]
    rows = client.fetch_ohlcv("BTC/KRW", "1h", since=T0 + HOUR, limit=3)
    assert rows == [
        [T0 + HOUR, 101.0, 103.5, 100.0, 102.0, 11.125],
        [T0 + 3 * HOUR, 103.0, 105.0, 102.0, 104.0, 13.0],
    ]


def test_candles_come_newest_first_with_the_venues_fields(replayed):
    rows = get(replayed, "/v1/candles/minutes/60", market="KRW-BTC", count=2).json()
    assert hours(rows) == [5, 4]
    assert rows[0]["trade_price"] == rows[0]["high_price"] == 105.0
    assert rows[1] == {
        "market": "KRW-BTC",
        "candle_date_time_utc": "2024-01-08T04:00:00",
        "candle_date_time_kst": "2024-01-08T13:00:00",
        "opening_price": 104.0,
        "high_price": 106.0,
        "low_price": 103.0,
        "trade_price": 105.0,
        "timestamp": T0 + 5 * HOUR - 1,
        "candle_acc_trade_price": None,
        "candle_acc_trade_volume": 14.0,
        "unit": 60,
    }


@pytest.mark.parametrize(
    "to", ["2024-01-08T04:00:00Z", "2024-01-08 04:00:00", "2024-01-08T13:00:00+09:00"]
)
def test_to_is_exclusive_in_every_spelling(replayed, to):
    rows = get(replayed, "/v1/candles/minutes/60", market="KRW-BTC", count=200, to=to).json()
    assert hours(rows) == [3, 1, 0]


def test_a_page_has_one_candle_and_at_most_200(simulate):
    with simulate() as simulator:
        one = get(simulator, "/v1/candles/minutes/60", market="KRW-BTC")
        many = get(simulator, "/v1/candles/minutes/60", market="KRW-BTC", count=500)
    assert (len(one.json()), len(many.json())) == (1, 200)


def test_days_tell_the_close_before(simulate, connect):
    with simulate() as simulator:
        rows = get(simulator, "/v1/candles/days", market="KRW-BTC", count=3).json()
        bars = connect("upbit", simulator.base_url).fetch_ohlcv("BTC/KRW", "1d", limit=3)
    assert len(rows) == 3
    assert [row["prev_closing_price"] for row in rows[:2]] == [r["trade_price"] for r in rows[1:]]
    change = rows[0]["trade_price"] - rows[1]["trade_price"]
    assert rows[0]["change_price"] == change
    assert [row[4] for row in bars] == [row["trade_price"] for row in reversed(rows)]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/v1/candles/minutes/60", {"market": "KRW-NOPE"}, 404),
        ("/v1/candles/minutes/60", {}, 400),
        ("/v1/candles/minutes/7", {"market": "KRW-BTC"}, 400),
        ("/v1/candles/minutes/60", {"market": "KRW-BTC", "count": "many"}, 400),
        ("/v1/candles/minutes/60", {"market": "KRW-BTC", "to": "soon"}, 400),
    ],
)
def test_refusals_are_the_venues(replayed, path, query, status):
    answer = get(replayed, path, **query)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_more_requests_in_a_second_than_allowed_are_too_many(simulate, connect):
    with simulate(weight_limits={"upbit_spot": 1}) as simulator:
        answers = [get(simulator, "/v1/market/all", is_details="true") for _ in range(6)]
        client = connect("upbit", simulator.base_url)

        def hurry():
            for _ in range(6):
                client.publicGetMarketAll()

        with pytest.raises(ccxt.NetworkError):
            hurry()
    refused = [a for a in answers if a.status_code == 429]
    assert refused[0].headers["retry-after"] == "1"
    assert answers[0].headers["remaining-req"] == "group=candles; min=60; sec=0"
    assert answers[0].json()[0]["market_event"]["warning"] is False
