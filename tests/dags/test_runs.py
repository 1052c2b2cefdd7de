"""DAGs run by Airflow itself, in one process, over the simulated exchange."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from pipelines.context import Context
from pipelines.market_simulator import SyntheticMarket, running_simulator
from pipelines.replay import replay
from pipelines.settings import Settings, load_settings
from pipelines.steps import HOURLY_CHAIN

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.stack]

AS_OF = datetime(2024, 6, 1, 14, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATER = AS_OF + 3 * HOUR
SYMBOLS = ("BTC/USDT", "ETH/USDT")
SMALL = {
    "HOURGLASS_SOURCES__ENABLED": "[]",
    "HOURGLASS_FEATURES__FAMILIES": '["momentum", "trend", "volatility", "cross_asset"]',
    "HOURGLASS_TRAINING__SEARCH__WORKERS": "2",
    "HOURGLASS_TRAINING__THREADS": "1",
    "HOURGLASS_TRAINING__SPLIT__TEST_DAYS": "4",
    "HOURGLASS_TRAINING__SPLIT__INNER_FOLDS": "2",
    "HOURGLASS_PROMOTION__REQUIRED": '["bars", "data_quality", "feature_set", "reproducible"]',
    "HOURGLASS_PROMOTION__BARS": "2",
}


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


@pytest.mark.timeout(600)
@pytest.mark.long
def test_a_training_becomes_a_book_and_its_rival_champion_once_a_person_approves(
    run_dag: Callable[..., dict[str, Any]], own_settings: Settings, airflow_api: str
) -> None:
    with running_simulator(SyntheticMarket(SYMBOLS, seed=7), now=LATER) as exchange:
        variables = {"HOURGLASS_EXCHANGE__BASE_URL": exchange.base_url, **SMALL}
        span = {
            "start": (AS_OF - timedelta(days=60)).isoformat(),
            "end": AS_OF.isoformat(),
            "stages": ["fetch", "features"],
        }
        assert run_dag("backfill", span, **variables)["state"] == "success"
        form = {"as_of": AS_OF.isoformat(), "trials": 2, "windows": 2, "train_days": 20}
        training = run_dag("retrain_daily", form, **variables)
        _check_training(training, own_settings)
        where = {"home": str(own_settings.home), "universe": list(own_settings.universe)}
        with Context(load_settings(where, environ=variables)) as context:
            _open_rival(context)
            replay(context, AS_OF, LATER)
    asked = {"as_of": LATER.isoformat(), "mode": "approve", "level": 0.3}
    with ThreadPoolExecutor(1) as aside:
        round_ = aside.submit(run_dag, "monitor_daily", asked, **variables)
        evidence = _answer(airflow_api, "Approve", waits_for=round_)
        tasks = round_.result()["tasks"]
    assert "**Version 2** shall succeed **version 1**" in evidence
    assert {tasks[name] for name in ("approve_promotion", "settle_promotion")} == {"success"}
    with Context(own_settings) as context:
        newest = context.ledger.promotions()[-1]
        assert (newest.version, newest.previous, newest.kind) == ("2", "1", "approval")
        assert newest.effective_from == LATER + HOUR
        assert newest.decided_by == "Anonymous"
        assert context.registry.champion_alias("2") == ("2", False)


def _check_training(training: dict[str, Any], settings: Settings) -> None:
    steps = ("plan_windows", "search", "choose_params", "run_window", "fit_challenger", "judge")
    done = dict.fromkeys((*steps, "register", "other_models"), "success")
    assert training == {"state": "success", "tasks": {**done, "train_others": "skipped"}}
    with Context(settings) as context:
        (book,) = [book for book in context.ledger.books() if book.model_version]
        assert (book.model_version, book.opened_at) == ("1", AS_OF)
        run = context.registry.tracking.client.get_run(context.registry.versions()[0].run_id)
        assert run.data.metrics["search_trials"] == 2, "the form wins over the settings"
        assert run.data.params["split.windows"] == "2"
        assert run.data.tags["airflow.dag_id"] == "retrain_daily"
        page = f"/dags/retrain_daily/runs/{quote(run.data.tags['airflow.run_id'], safe='')}"
        assert run.data.tags["airflow.url"].endswith(page)
        assert f"({run.data.tags['airflow.url']})" in run.data.tags["mlflow.note.content"]


def _open_rival(context: Context) -> None:
    """Register the same model as version 2, with a book of its own."""
    registry = context.registry
    info, scorer = registry.version_info("1"), registry.load("1")
    example = np.zeros((2, len(scorer.feature_names)), np.float32)
    training = f"{info.training_id}-again"
    registry.log_model(info.run_id, training, scorer, example=example, tags=info.tags)
    version = registry.register(training, {}, "")
    context.ledger.open_book(
        f"model-{version}",
        strategy="model",
        model_version=version,
        opened_at=AS_OF,
        initial_cash=100_000.0,
        reason="registered",
        decided_by="register",
    )


def _answer(url: str, answer: str, *, waits_for: "Future[dict[str, Any]]") -> str:
    """Answer the one question that Airflow asks, as a program would; return what it showed."""
    with httpx.Client(base_url=url, trust_env=False, timeout=30.0) as client:
        questions = "/api/v2/dags/monitor_daily/dagRuns/~/hitlDetails"
        while not (pending := _ask(client, questions)):
            assert not waits_for.done(), waits_for.result()
            time.sleep(0.2)
        (question,) = pending
        task = question["task_instance"]
        run = f"/api/v2/dags/monitor_daily/dagRuns/{quote(task['dag_run_id'], safe='')}"
        path = f"{run}/taskInstances/approve_promotion/-1/hitlDetails"
        answered = client.patch(path, json={"chosen_options": [answer], "params_input": {}})
        assert answered.status_code == httpx.codes.OK, answered.text
    return str(question["body"])


def _ask(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Return the questions that wait for an answer; none while the server starts."""
    try:
        if "Authorization" not in client.headers:
            token = client.get("/auth/token").json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
        found = client.get(path).json()["hitl_details"]
    except httpx.TransportError:
        return []
    return [one for one in found if one["task_instance"]["state"] == "awaiting_input"]


@pytest.mark.long
def test_an_hour_off_the_grid_stops_at_its_first_task(
    run_dag: Callable[..., dict[str, Any]],
) -> None:
    off_grid = {"as_of": "2024-06-01T14:30:00+00:00"}
    hour = run_dag("trade_hourly", off_grid, HOURGLASS_EXCHANGE__BASE_URL="http://127.0.0.1:1")
    assert hour["state"] == "failed"
    rest = dict.fromkeys((*HOURLY_CHAIN[1:], "request_retraining"), "upstream_failed")
    assert hour["tasks"] == {HOURLY_CHAIN[0]: "failed", **rest}
