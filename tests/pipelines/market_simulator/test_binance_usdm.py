import itertools
from datetime import UTC, datetime

import pytest
import requests

from pipelines.market_simulator import ReplayMarket, running_simulator

HOUR = 3_600_000
DAY = 24 * HOUR
NOW_MS = 1_717_251_605_000  # conftest.NOW


def get(simulator, path, **query):
    return requests.get(simulator.base_url + path, params=query, timeout=5)


def test_ccxt_loads_perpetuals_and_their_filters(simulate, connect):
    with simulate() as simulator:
        client = connect("binanceusdm", simulator.base_url)
        client.load_markets()
        bars = client.fetch_ohlcv("BTC/USDT:USDT", "1h", limit=3)
    market = client.market("BTC/USDT:USDT")
    assert (market["swap"], market["linear"], market["active"]) == (True, True, True)
    assert market["limits"]["cost"]["min"] == 5.0
    assert market["precision"]["price"] == 0.1
    assert [row[0] for row in bars] == [NOW_MS - NOW_MS % HOUR + k * HOUR for k in (-2, -1, 0)]


def test_klines_serve_1500_rows_and_refuse_more(simulate):
    query = {"symbol": "BTCUSDT", "interval": "1h"}
    with simulate() as simulator:
        full = get(simulator, "/fapi/v1/klines", **query, limit=1500)
        more = get(simulator, "/fapi/v1/klines", **query, limit=1501)
        few = get(simulator, "/fapi/v1/klines", **query, limit=99)
    assert len(full.json()) == 1500
    assert len(full.json()[0]) == 12
    assert (more.status_code, more.json()["code"]) == (400, -1130)
    assert [r.headers["x-mbx-used-weight-1m"] for r in (full, more, few)] == ["10", "20", "21"]


def test_funding_history_is_paged_from_its_start(simulate, connect):
    with simulate() as simulator:
        client = connect("binanceusdm", simulator.base_url)
        since = NOW_MS - 400 * DAY
        rows = client.fetch_funding_rate_history("BTC/USDT:USDT", since=since, limit=1000)
        newest = get(simulator, "/fapi/v1/fundingRate", symbol="BTCUSDT").json()
        every = get(simulator, "/fapi/v1/fundingRate", limit=7).json()
    assert len(rows) == 1000
    assert rows[0]["timestamp"] == since - since % (8 * HOUR) + 8 * HOUR
    assert {b["timestamp"] - a["timestamp"] for a, b in itertools.pairwise(rows)} == {8 * HOUR}
    assert len(newest) == 100
    assert newest[-1]["fundingTime"] == NOW_MS - NOW_MS % (8 * HOUR)
    assert float(newest[-1]["markPrice"]) > 0
    assert every == newest[-7:]


def test_the_premium_index_tells_the_last_rate_and_the_next_time(simulate, connect):
    with simulate() as simulator:
        client = connect("binanceusdm", simulator.base_url)
        now = client.fetch_funding_rate("BTC/USDT:USDT")
        every = get(simulator, "/fapi/v1/premiumIndex").json()
        last = get(simulator, "/fapi/v1/fundingRate", symbol="BTCUSDT").json()[-1]
    assert now["fundingRate"] == float(last["fundingRate"])
    assert now["fundingTimestamp"] == NOW_MS - NOW_MS % (8 * HOUR) + 8 * HOUR
    assert abs(now["markPrice"] / now["indexPrice"] - 1) < 0.005
    assert [row["symbol"] for row in every] == ["BTCUSDT"]


def test_open_interest_reaches_back_thirty_days_and_no_further(simulate, connect):
    path, query = "/futures/data/openInterestHist", {"symbol": "BTCUSDT", "period": "1h"}
    with simulate() as simulator:
        client = connect("binanceusdm", simulator.base_url)
        rows = client.fetch_open_interest_history("BTC/USDT:USDT", "1h", limit=500)
        fine = get(simulator, path, symbol="BTCUSDT", period="5m", limit=13).json()
        old = get(simulator, path, **query, startTime=NOW_MS - 31 * DAY)
        many = get(simulator, path, **query, limit=501)
        odd = get(simulator, path, symbol="BTCUSDT", period="7m")
    assert len(rows) == 500
    assert rows[-1]["timestamp"] == NOW_MS - NOW_MS % HOUR
    assert rows[-1]["openInterestValue"] > rows[-1]["openInterestAmount"] > 0
    assert [row["timestamp"] for row in fine][-1] == NOW_MS - NOW_MS % (HOUR // 12)
    assert len({row["sumOpenInterest"] for row in fine}) == 2
    assert [r.json()["code"] for r in (old, many, odd)] == [-1130, -1130, -1130]


def test_unknown_symbols_and_missing_parameters_are_refused(simulate):
    with simulate() as simulator:
        unknown = get(simulator, "/fapi/v1/fundingRate", symbol="NOPEUSDT")
        missing = get(simulator, "/futures/data/openInterestHist", symbol="BTCUSDT")
    assert (unknown.status_code, unknown.json()["code"]) == (400, -1121)
    assert missing.json()["code"] == -1102


@pytest.mark.parametrize(("hour", "count"), [(3, 1), (4, 2)])
def test_replayed_funding_is_served_once_published(replay_folder, hour, count):
    now = datetime(2024, 1, 8, hour, tzinfo=UTC)
    with running_simulator(ReplayMarket(replay_folder), now=now) as simulator:
        rows = get(simulator, "/fapi/v1/fundingRate", symbol="BTCUSDT").json()
        interest = get(simulator, "/futures/data/openInterestHist", symbol="BTCUSDT", period="1h")
    assert [row["fundingRate"] for row in rows] == ["0.00010000", "-0.00025000"][:count]
    assert rows[0]["markPrice"] == "100.00000000"
    assert interest.json() == []


FUNDING = "/fapi/v1/fundingRate"
PAID_MS = NOW_MS - NOW_MS % (8 * HOUR)


@pytest.mark.parametrize(
    ("fault", "hours", "factors"),
    [
        ({"kind": "gap", "from": "2024-06-01T08:00Z"}, [-16, -8], [1, 1]),
        ({"kind": "duplicate", "from": "2024-06-01T08:00Z"}, [-16, -8, 0, 0], [1, 1, 1, 1]),
        ({"kind": "out_of_order"}, [0, -8, -16], [1, 1, 1]),
        ({"kind": "restated", "factor": 3, "until": "2024-05-31T16:00Z"}, [-16, -8, 0], [3, 1, 1]),
        ({"kind": "corrupt", "value": "negative"}, [-16, -8, 0], [-1, -1, -1]),
        ({"kind": "delisted", "symbol": "BTCUSDT", "at": "2024-06-01T08:00Z"}, [-16, -8], [1, 1]),
        ({"kind": "unfinished", "stamp": "ahead"}, [-16, -8, 0, 16], [1, 1, 1, None]),
        ({"kind": "gap", "path": "/fapi/v1/klines"}, [-16, -8, 0], [1, 1, 1]),
    ],
)
def test_the_faults_of_the_script_meet_funding_by_its_instant(simulate, fault, hours, factors):
    query = {"symbol": "BTCUSDT", "startTime": PAID_MS - 16 * HOUR}
    with simulate() as simulator:
        right = get(simulator, FUNDING, **query).json()
    with simulate(faults=[fault]) as simulator:
        told = get(simulator, FUNDING, **query).json()
    assert [row["fundingTime"] for row in told] == [PAID_MS + hour * HOUR for hour in hours]
    rates = {row["fundingTime"]: float(row["fundingRate"]) for row in right}
    for row, factor in zip(told, factors, strict=True):
        if factor is not None:
            rate = factor * rates[row["fundingTime"]]
            assert float(row["fundingRate"]) == pytest.approx(rate, abs=1e-8)


def test_a_page_of_funding_in_a_wrong_order_is_still_the_first_of_the_span(simulate):
    query = {"symbol": "BTCUSDT", "startTime": PAID_MS - 80 * HOUR, "limit": 3}
    with simulate(faults=[{"kind": "out_of_order"}]) as simulator:
        told = get(simulator, FUNDING, **query).json()
    assert [row["fundingTime"] for row in told] == [PAID_MS + h * HOUR for h in (-64, -72, -80)]
