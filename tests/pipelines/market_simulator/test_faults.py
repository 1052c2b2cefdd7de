import json
import time

import ccxt
import numpy as np
import pytest
import requests

from pipelines.errors import ConfigError
from pipelines.market_simulator.faults import parse_faults, read_faults

HOUR = 3_600_000
NOW_MS = 1_717_251_605_000  # conftest.NOW: 2024-06-01T14:20:05Z
LAST = NOW_MS - NOW_MS % HOUR  # open of the candle in progress


@pytest.fixture
def serve_with(simulate):
    """`serve_with(fault, ...)` gives a function that asks for klines of BTCUSDT."""
    running = []

    def start(*faults):
        running.append(simulate(faults=faults))
        base = running[-1].__enter__().base_url

        def ask(symbol="BTCUSDT", path="/api/v3/klines", timeout=5.0, **query):
            query = {"symbol": symbol, "interval": "1h", "limit": 5, **query}
            return requests.get(base + path, params=query, timeout=timeout)

        return ask

    yield start
    for simulator in running:
        simulator.__exit__(None, None, None)


def opens(answer):
    return [(row[0] - LAST) // HOUR for row in answer.json()]


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ({"kind": "rate_limited", "retry_after": 2, "count": 1}, 429, "2"),
        ({"kind": "banned", "retry_after": 60, "count": 1}, 418, "60"),
        ({"kind": "server_error", "status": 502, "count": 1}, 502, None),
        ({"kind": "server_error", "count": 1}, 503, None),
    ],
)
def test_a_refused_answer_lasts_as_long_as_the_script_says(serve_with, fault, status, retry_after):
    ask = serve_with(fault)
    first, second = ask(), ask()
    assert (first.status_code, second.status_code) == (status, 200)
    assert first.headers.get("retry-after") == retry_after


def test_truncated_json_and_html_are_no_json(serve_with):
    ask = serve_with({"kind": "truncated", "count": 1}, {"kind": "html", "count": 1})
    truncated, html, sound = ask(), ask(), ask()
    assert truncated.status_code == html.status_code == 200
    for broken in (truncated, html):
        with pytest.raises(json.JSONDecodeError):
            broken.json()
    assert "<html>" in html.text
    assert len(sound.json()) == 5


def test_a_slow_answer_times_the_client_out(serve_with):
    ask = serve_with({"kind": "slow", "seconds": 0.6, "count": 1})
    with pytest.raises(requests.ReadTimeout):
        ask(timeout=0.2)
    assert ask().status_code == 200


def test_a_slow_answer_does_not_hold_up_the_others_nor_the_end(simulate):
    with simulate(faults=[{"kind": "slow", "seconds": 60, "path": "/api/v3/time"}]) as simulator:
        with pytest.raises(requests.ReadTimeout):
            requests.get(f"{simulator.base_url}/api/v3/time", timeout=0.2)
        assert requests.get(f"{simulator.base_url}/api/v3/ping", timeout=5).status_code == 200
        began = time.monotonic()
    assert time.monotonic() - began < 10


def test_the_candle_in_progress_stamped_as_closed_contradicts_the_true_bar(serve_with):
    ask = serve_with({"kind": "unfinished", "stamp": "closed", "count": 1})
    stamped, sound = ask(endTime=LAST - 1), ask(endTime=LAST - 1)
    assert opens(stamped) == [-5, -4, -3, -2, -1, -1]
    assert stamped.json()[-1][1:] != stamped.json()[-2][1:]
    assert stamped.json()[:-1] == sound.json()


def test_the_candle_in_progress_can_be_ahead_of_time(serve_with):
    assert opens(serve_with({"kind": "unfinished", "stamp": "ahead"})()) == [-4, -3, -2, -1, 1]


def test_old_pages_have_no_unfinished_candle(serve_with):
    ask = serve_with({"kind": "unfinished", "count": 1})
    assert opens(ask(endTime=LAST - 2 * HOUR)) == [-6, -5, -4, -3, -2]
    assert opens(ask()) == [-4, -3, -2, -1, -1]


SPAN = {"from": "2024-06-01T11:00Z", "until": "2024-06-01T12:00Z"}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "gap", **SPAN}, [-4, -1, 0]),
        ({"kind": "duplicate", **SPAN}, [-4, -3, -3, -2, -2, -1, 0]),
        ({"kind": "out_of_order"}, [0, -1, -2, -3, -4]),
    ],
)
def test_bars_go_missing_double_and_out_of_order(serve_with, fault, expected):
    assert opens(serve_with(fault)()) == expected


def test_a_restated_bar_changes_after_so_many_requests(serve_with):
    ask = serve_with({"kind": "restated", "factor": 1.5, "after": 1, **SPAN})
    before, after = ask().json(), ask().json()
    changed = [i for i in range(5) if before[i] != after[i]]
    assert changed == [1, 2]
    assert float(after[1][4]) == pytest.approx(1.5 * float(before[1][4]), abs=1e-8)
    assert after[1][2] == after[1][4]
    assert after[1][1] == before[1][1]


def test_a_restatement_can_wait_for_an_instant(simulate):
    fault = {"kind": "restated", "at": "2024-06-01T15:00Z", **SPAN}
    with simulate(faults=[fault]) as simulator:

        def ask():
            url = f"{simulator.base_url}/api/v3/klines?symbol=BTCUSDT&interval=1h"
            return requests.get(f"{url}&startTime={LAST - 3 * HOUR}&limit=3", timeout=5).json()

        before = ask()
        url = f"{simulator.base_url}/_simulator/clock"
        requests.post(url, json={"now": "2024-06-01T15:00Z"}, timeout=5)
        after = ask()
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, True]


@pytest.mark.parametrize(
    ("value", "looks_wrong"),
    [
        ("nan", lambda row: np.isnan(float(row[4]))),
        ("negative", lambda row: float(row[4]) < 0),
        ("crossed", lambda row: float(row[2]) < float(row[3])),
    ],
)
def test_corrupt_bars_are_corrupt_where_the_script_says(serve_with, value, looks_wrong):
    rows = serve_with({"kind": "corrupt", "value": value, **SPAN})().json()
    assert [bool(looks_wrong(row)) for row in rows] == [False, True, True, False, False]


def test_faults_meet_only_their_symbol_and_path(serve_with):
    ask = serve_with(
        {"kind": "gap", "symbol": "ETHUSDT"},
        {"kind": "server_error", "path": "/fapi/*", "symbol": "BTC/USDT:USDT"},
    )
    assert len(ask("BTCUSDT").json()) == 5
    assert ask("ETHUSDT").json() == []
    assert ask("BTCUSDT", "/fapi/v1/klines").status_code == 503
    assert ask("BTCUSDT", "/fapi/v1/premiumIndex").status_code == 503


def test_a_delisted_symbol_ends_and_breaks(serve_with):
    ask = serve_with({"kind": "delisted", "symbol": "BTC/USDT", "at": "2024-06-01T12:00Z"})
    assert opens(ask()) == [-4, -3]
    info = ask(path="/api/v3/exchangeInfo").json()["symbols"][0]
    assert (info["symbol"], info["status"]) == ("BTCUSDT", "BREAK")


def test_a_symbol_that_is_gone_is_unknown(serve_with):
    fault = {"kind": "delisted", "symbol": "BTCUSDT", "at": "2024-06-01T12:00Z", "gone": True}
    ask = serve_with(fault)
    assert ask().json()["code"] == -1121
    assert ask("ETHUSDT").status_code == 200


def test_ccxt_raises_its_own_classes_for_faults(simulate, connect):
    script = [
        {"kind": "rate_limited", "count": 1},
        {"kind": "banned", "count": 1},
        {"kind": "server_error", "count": 1},
        {"kind": "html", "status": 502, "count": 1},
    ]
    with simulate(faults=script) as simulator:
        client = connect("binance", simulator.base_url)
        for kind in (ccxt.DDoSProtection, ccxt.DDoSProtection, ccxt.ExchangeNotAvailable):
            with pytest.raises(kind):
                client.publicGetTime()
        with pytest.raises(ccxt.NetworkError):
            client.publicGetTime()
        assert client.fetch_time() == NOW_MS


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ([{"kind": "gapp"}], "no known kind"),
        ([{"kind": "gap", "upto": 3}], "unknown key 'upto'"),
        ([{"kind": "corrupt", "value": "odd"}], "value 'odd' is not known"),
        ([{"kind": "delisted", "symbol": "BTCUSDT"}], "needs a symbol and an instant"),
        ([{"kind": "gap", "from": "noon"}], "is not an instant"),
        (["gap"], "no known kind"),
        ({"kind": "gap"}, "list of objects"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused(script, message):
    with pytest.raises(ConfigError, match=message):
        parse_faults(script)


def test_a_script_is_read_from_a_file(tmp_path):
    file = tmp_path / "faults.json"
    file.write_text('[{"kind": "slow", "seconds": 2, "count": 4}]')
    fault = read_faults(file)[0]
    assert (fault.kind, fault.options, fault.count) == ("slow", {"seconds": 2.0}, 4)
    file.write_text("[{")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_faults(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_faults(tmp_path / "none.json")
