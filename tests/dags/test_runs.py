"""DAGs run by Airflow itself, in one process, over the simulated exchange."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.context import Context
from pipelines.market_simulator import SyntheticMarket, running_simulator
from pipelines.settings import Settings
from pipelines.steps import HOURLY_CHAIN

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.stack]

AS_OF = datetime(2024, 6, 1, 14, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/USDT")


def test_the_hour_runs_from_the_exchange_to_the_ledger_after_a_backfill(
    run_dag: Callable[..., dict[str, Any]], own_settings: Settings
) -> None:
    with running_simulator(SyntheticMarket(SYMBOLS, seed=7), now=AS_OF) as exchange:
        variables = {"HOURGLASS_EXCHANGE__BASE_URL": exchange.base_url}
        span = {
            "start": (AS_OF - timedelta(days=30)).isoformat(),
            "end": (AS_OF - timedelta(hours=1)).isoformat(),
            "stages": ["fetch", "features"],
        }
        history = run_dag("backfill", span, **variables)
        hour = run_dag("trade_hourly", {"as_of": AS_OF.isoformat()}, **variables)
    assert history == {
        "state": "success",
        "tasks": {"fetch": "success", "check": "skipped", "features": "success"},
    }
    assert hour == {"state": "success", "tasks": dict.fromkeys(HOURLY_CHAIN, "success")}
    with Context(own_settings) as context:
        bars = context.lake.read("bars", end=AS_OF)
        assert bars.height == 2 * 30 * 24
        assert bars["known_at"].max() == AS_OF
        assert context.ledger.last_traded_at() == AS_OF
        assert context.ledger.verify() == []


def test_an_hour_off_the_grid_stops_at_its_first_task(
    run_dag: Callable[..., dict[str, Any]],
) -> None:
    off_grid = {"as_of": "2024-06-01T14:30:00+00:00"}
    hour = run_dag("trade_hourly", off_grid, HOURGLASS_EXCHANGE__BASE_URL="http://127.0.0.1:1")
    assert hour["state"] == "failed"
    rest = dict.fromkeys(HOURLY_CHAIN[1:], "upstream_failed")
    assert hour["tasks"] == {HOURLY_CHAIN[0]: "failed", **rest}
