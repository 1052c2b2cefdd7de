"""Airflow in processes of its own, over a temporary home."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.database import embedded_server, open_databases
from pipelines.settings import Settings, load_settings

DAGS = Path(__file__).resolve().parents[2] / "dags"
HERE = Path(__file__).resolve().parent

RunDag = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def airflow_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("airflow")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("HOURGLASS_", "AIRFLOW_"))}
    return {
        **plain,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'unused.db'}",
        "HOURGLASS_HOME": str(home / "home"),
    }


@pytest.fixture(scope="module")
def inspection(airflow_environment: dict[str, str]) -> dict[str, Any]:
    """What Airflow makes of dags/, with one setting that is not the default: see inspect_dags.py."""
    environment = {**airflow_environment, "HOURGLASS_STACK__PARALLEL_WINDOWS": "3"}
    return _run_script("inspect_dags.py", environment=environment)


def _run_script(script: str, *arguments: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run a script of this folder and return the report it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / script), str(DAGS), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    reports = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    assert reports, done.stdout[-4000:] + done.stderr[-4000:]
    return json.loads(reports[-1].removeprefix("REPORT "))


@pytest.fixture
def own_settings(server_path: Path) -> Settings:
    """Settings over a home with its own embedded database, which other processes reach by name."""
    keys = {"home": str(server_path / "home"), "universe": ["BTC/USDT", "ETH/USDT"]}
    return load_settings(keys, environ={})


@pytest.fixture
def own_environment(
    airflow_environment: dict[str, str], own_settings: Settings
) -> Iterator[dict[str, str]]:
    """The environment of Airflow over the home of `own_settings`, with its database migrated."""
    server = embedded_server(own_settings.home / "postgres")
    databases = open_databases(own_settings)
    environment = {
        **airflow_environment,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": databases.airflow,
        "HOURGLASS_HOME": str(own_settings.home),
        "HOURGLASS_DATABASE_URL": databases.server,
        "HOURGLASS_UNIVERSE": json.dumps(own_settings.universe),
    }
    migrate = [sys.executable, "-W", "ignore", "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=environment, capture_output=True, timeout=240, check=True)
    yield environment
    server.cleanup()


@pytest.fixture
def run_dag(own_environment: dict[str, str]) -> RunDag:
    """`run_dag(dag_id, conf, **variables)`: `dag.test()` over the home of `own_settings`."""

    def run(dag_id: str, conf: dict[str, Any], **variables: str) -> dict[str, Any]:
        words = (dag_id, json.dumps(conf))
        return _run_script("run_dag.py", *words, environment={**own_environment, **variables})

    return run


@pytest.fixture
def airflow_api(own_environment: dict[str, str], own_settings: Settings) -> Iterator[str]:
    """Address of an API server over the same database; it may not answer yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ("api-server", "--apps", "core", "--workers", "1", "--port", str(port))
    log = own_settings.home / "api-server.log"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "airflow", *words],
            env=own_environment,
            stdout=sink,
            stderr=sink,
        )
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(30)
