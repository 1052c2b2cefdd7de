"""DAGs run by Airflow itself, in one process, over the simulated exchange."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

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
    done = dict.fromkeys(HOURLY_CHAIN, "success")
    assert hour == {"state": "success", "tasks": {**done, "request_retraining": "skipped"}}
    with Context(own_settings) as context:
        bars = context.lake.read("bars", end=AS_OF)
        assert bars.height == 2 * 30 * 24
        assert bars["known_at"].max() == AS_OF
        assert context.ledger.last_traded_at() == AS_OF
        assert context.ledger.verify() == []


def test_a_training_runs_through_mapped_workers_and_windows_to_a_book(
    run_dag: Callable[..., dict[str, Any]], own_settings: Settings
) -> None:
    small = {
        "HOURGLASS_TRAINING__SEARCH__WORKERS": "2",
        "HOURGLASS_TRAINING__THREADS": "1",
        "HOURGLASS_TRAINING__SPLIT__TEST_DAYS": "4",
        "HOURGLASS_TRAINING__SPLIT__INNER_FOLDS": "2",
    }
    with running_simulator(SyntheticMarket(SYMBOLS, seed=7), now=AS_OF) as exchange:
        variables = {"HOURGLASS_EXCHANGE__BASE_URL": exchange.base_url, **small}
        span = {
            "start": (AS_OF - timedelta(days=60)).isoformat(),
            "end": AS_OF.isoformat(),
            "stages": ["fetch", "features"],
        }
        assert run_dag("backfill", span, **variables)["state"] == "success"
        form = {"as_of": AS_OF.isoformat(), "trials": 2, "windows": 2, "train_days": 20}
        training = run_dag("retrain_daily", form, **variables)
    steps = ("plan_windows", "search", "choose_params", "run_window", "fit_challenger", "judge")
    done = dict.fromkeys((*steps, "register", "other_models"), "success")
    assert training == {"state": "success", "tasks": {**done, "train_others": "skipped"}}
    with Context(own_settings) as context:
        (book,) = [book for book in context.ledger.books() if book.model_version]
        assert (book.model_version, book.opened_at) == ("1", AS_OF)
        run = context.registry.tracking.client.get_run(context.registry.versions()[0].run_id)
        assert run.data.metrics["search_trials"] == 2, "the form wins over the settings"
        assert run.data.params["split.windows"] == "2"
        assert run.data.tags["airflow.dag_id"] == "retrain_daily"
        page = f"/dags/retrain_daily/runs/{quote(run.data.tags['airflow.run_id'], safe='')}"
        assert run.data.tags["airflow.url"].endswith(page)
        assert f"({run.data.tags['airflow.url']})" in run.data.tags["mlflow.note.content"]


def test_an_hour_off_the_grid_stops_at_its_first_task(
    run_dag: Callable[..., dict[str, Any]],
) -> None:
    off_grid = {"as_of": "2024-06-01T14:30:00+00:00"}
    hour = run_dag("trade_hourly", off_grid, HOURGLASS_EXCHANGE__BASE_URL="http://127.0.0.1:1")
    assert hour["state"] == "failed"
    rest = dict.fromkeys((*HOURLY_CHAIN[1:], "request_retraining"), "upstream_failed")
    assert hour["tasks"] == {HOURLY_CHAIN[0]: "failed", **rest}
