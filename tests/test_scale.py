"""The containers' topology as plain processes: Celery over Redis, PostgreSQL, the lake on S3.

One hour goes through it: from a simulated exchange, by Airflow's Celery worker, into tables in an object
store and a ledger in PostgreSQL.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.airflow.client import trigger_hour
from pipelines.context import Context
from pipelines.database import embedded_server, open_databases
from pipelines.market_simulator import SyntheticMarket, running_simulator
from pipelines.settings import Settings, load_settings
from pipelines.stack import lifecycle as stack
from pipelines.stack.plan import write_resolved_settings
from pipelines.steps.backfill import backfill
from pipelines.steps.build_features import build_features

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.scale]

AS_OF = datetime(2024, 6, 1, 14, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/USDT")
BUCKET = "hourglass"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@contextmanager
def _server(command: list[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        _wait_for(lambda: _listens(port))
        yield
    finally:
        process.terminate()
        process.wait(20)


def _prepare(settings: Settings) -> None:
    """Do what the containers' `prepare` service does: databases, bucket, schemas, password."""
    databases = open_databases(settings)
    environment = {
        **os.environ,
        "HOURGLASS_CONFIG": str(write_resolved_settings(settings)),
        "HOURGLASS_DATABASE_URL": databases.server,
        "AIRFLOW_HOME": str(settings.home / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": databases.airflow,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(settings.home / "passwords.json"),
        "AIRFLOW_ADMIN_PASSWORD": "a-password-of-this-test",
    }
    for _ in range(2):
        command = [sys.executable, "-W", "ignore", "-m", "pipelines.stack.prepare"]
        done = subprocess.run(
            command, env=environment, capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
    passwords = settings.home / "passwords.json"
    assert passwords.read_text() == '{"admin": "a-password-of-this-test"}'
    assert passwords.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def scaled(
    tmp_path: Path, server_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Settings over Redis, S3 and a simulated exchange that all run; the stack is stopped at the end."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    redis, store = _free_port(), _free_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    moto = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(store)]
    with ExitStack() as running:
        enter = running.enter_context
        enter(
            _server(["redis-server", "--port", str(redis), *options], redis, tmp_path / "redis.log")
        )
        enter(_server(moto, store, tmp_path / "store.log"))
        exchange = enter(running_simulator(SyntheticMarket(SYMBOLS, seed=7), now=AS_OF))
        keys = {
            "home": str(server_path / "home"),
            "universe": list(SYMBOLS),
            "exchange.base_url": exchange.base_url,
            "lake.uri": f"s3://{BUCKET}/lake",
            "mlflow.artifact_uri": f"s3://{BUCKET}/artifacts",
            "stack.executor": "CeleryExecutor",
            "stack.broker_url": f"redis://127.0.0.1:{redis}/0",
            "stack.airflow_port": _free_port(),
            "stack.mlflow_port": _free_port(),
            "stack.scheduled": False,
        }
        settings = load_settings(keys, environ={})
        running.callback(embedded_server(settings.home / "postgres").cleanup)
        running.callback(stack.down, settings, say=lambda _: None)
        _prepare(settings)
        yield settings


def test_an_hour_goes_through_celery_into_an_object_store_and_the_ledger(scaled: Settings) -> None:
    before = AS_OF - timedelta(hours=1)
    with Context(scaled) as context:
        backfill(context, before - timedelta(days=30), before)
        build_features(context, before)
    parts = stack.up(scaled, say=lambda _: None)
    assert parts["airflow-celery-worker"]["state"] == "healthy"
    run = trigger_hour(scaled, AS_OF)
    assert run["state"] == "success", run
    with Context(scaled) as context:
        bars = context.lake.read("bars", start=before, end=AS_OF)
        assert bars["symbol"].to_list() == list(SYMBOLS)
        assert context.lake.uri.startswith("s3://")
        assert context.ledger.last_traded_at() == AS_OF
        assert context.ledger.verify() == []
    assert not (scaled.home / "lake").exists()
    # The worker reports a task to Airflow before it says so in its log.
    log = scaled.home / "logs" / "airflow-celery-worker.log"
    _wait_for(lambda: log.read_text().count("succeeded in") == len(run["tasks"]))
