import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import requests

from pipelines.errors import ConfigError
from pipelines.market_simulator import serve

NOW = datetime(2024, 6, 1, 14, 20, 5, tzinfo=UTC)


def test_the_clock_is_moved_over_http(simulate):
    with simulate() as simulator:
        url = f"{simulator.base_url}/_simulator/clock"
        assert requests.get(url, timeout=5).json() == {
            "now": "2024-06-01T14:20:05+00:00",
            "speed": 0,
        }
        moved = requests.post(url, json={"now": "2024-07-01T00:00Z"}, timeout=5).json()
        assert moved["now"] == "2024-07-01T00:00:00+00:00"
        time = requests.get(f"{simulator.base_url}/api/v3/time", timeout=5).json()
        assert time == {"serverTime": 1_719_792_000_000}
        faster = requests.post(url, json={"speed": 3600}, timeout=5).json()
        assert faster["speed"] == 3600
        assert simulator.clock.speed == 3600


@pytest.mark.parametrize("body", ['{"speed": -1}', '{"now": "noon"}', "{", "[]"])
def test_a_clock_order_that_makes_no_sense_is_refused(simulate, body):
    with simulate() as simulator:
        answer = requests.post(f"{simulator.base_url}/_simulator/clock", data=body, timeout=5)
        assert answer.status_code == 400
        assert answer.json()["error"]
        assert simulator.clock.now() == NOW


def test_faults_are_added_and_ended_over_http(simulate):
    with simulate() as simulator:
        url, ping = f"{simulator.base_url}/_simulator/faults", f"{simulator.base_url}/api/v3/ping"
        added = requests.post(url, json=[{"kind": "server_error"}], timeout=5)
        assert added.json() == {"added": 1}
        assert requests.get(ping, timeout=5).status_code == 503
        assert requests.delete(url, timeout=5).status_code == 200
        assert requests.get(ping, timeout=5).status_code == 200
        wrong = requests.post(url, json=[{"kind": "nonsense"}], timeout=5)
        assert wrong.status_code == 400
        assert "no known kind" in wrong.json()["error"]


def test_two_simulators_run_side_by_side_and_free_their_ports(simulate):
    with simulate() as one, simulate(now=datetime(2023, 1, 1, tzinfo=UTC)) as two:
        times = [
            requests.get(f"{s.base_url}/api/v3/time", timeout=5).json()["serverTime"]
            for s in (one, two)
        ]
        ports = [int(s.base_url.rsplit(":", 1)[1]) for s in (one, two)]
    assert times == [1_717_251_605_000, 1_672_531_200_000]
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_that_is_taken_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"):
            serve(port=port, symbols=["BTC/USDT"])


@pytest.mark.stack
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_where_it_listens_and_ends_cleanly_on_a_signal(number):
    script = (
        "from datetime import datetime, UTC\n"
        "from pipelines.market_simulator import serve\n"
        "serve(port=0, now=datetime(2024, 6, 1, tzinfo=UTC), speed=0.0, seed=3)\n"
        "print('ended')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        assert line.endswith("(synthetic, seed 3, signal 0.15; clock 2024-06-01T00:00Z, speed 0)\n")
        base = line.split()[2]
        info = requests.get(f"{base}/api/v3/exchangeInfo", timeout=30).json()
        assert len(info["symbols"]) == 10
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
        assert (process.returncode, rest, errors) == (0, "ended\n", "")
    finally:
        process.kill()
        process.wait()
