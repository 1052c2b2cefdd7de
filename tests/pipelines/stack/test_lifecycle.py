"""The local stack with real processes: PostgreSQL, MLflow and all of Airflow."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.airflow.client import AirflowClient
from pipelines.embedded_postgres import postmaster_pid
from pipelines.errors import ConfigError, SourceUnavailable
from pipelines.settings import Settings, load_settings
from pipelines.stack import lifecycle as stack
from pipelines.stack.plan import stack_secrets
from pipelines.stack.processes import ProcessIdentity
from pipelines.stack.supervisor import state_file

AIRFLOW = {f"airflow-{name}" for name in ("api-server", "scheduler", "dag-processor", "triggerer")}
PARTS = {"supervisor", "postgres", "mlflow"} | AIRFLOW


def _silence(line: str) -> None:
    pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _settings(home: Path, **keys: Any) -> Settings:
    ports = {"stack.airflow_port": _free_port(), "stack.mlflow_port": _free_port()}
    keys = {"home": str(home), "stack.scheduled": False, **ports, **keys}
    return load_settings(keys, environ={})


def _state(settings: Settings) -> dict[str, Any]:
    return json.loads(state_file(settings.home).read_text())


def _wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def _identities(settings: Settings) -> list[ProcessIdentity]:
    state = _state(settings)
    parts = [state["supervisor"], *state["components"].values()]
    return [ProcessIdentity(part["pid"], part["started"]) for part in parts]


@pytest.fixture
def idle(server_path: Path) -> Iterator[Settings]:
    """Settings whose stack is stopped at the end, whatever the test did to it."""
    settings = _settings(server_path / "a home with spaces")
    yield settings
    stack.down(settings, say=_silence)


@pytest.mark.stack
@pytest.mark.slow
def test_the_stack_starts_heals_survives_its_supervisor_and_stops_exactly_itself(
    idle: Settings,
) -> None:
    told: list[str] = []
    parts = stack.up(idle, say=told.append)
    assert set(parts) == PARTS
    assert {part["state"] for name, part in parts.items() if name != "supervisor"} == {"healthy"}
    assert sum("is healthy" in line for line in told) == len(PARTS) - 1
    assert httpx.get(f"{parts['mlflow']['url']}/health", trust_env=False).status_code == 200
    with AirflowClient(idle) as airflow, pytest.raises(ConfigError, match="has no DAG nothing"):
        airflow.wait_for_dag("nothing", patience_seconds=0.1)

    assert stack.up(idle, say=told.append) == parts, "a second `up` finds all in place"

    _kill("airflow-triggerer", parts)
    _kill("mlflow", parts)
    _wait_for(lambda: _healed(idle, {"airflow-triggerer", "mlflow"}))
    _kill("postgres", parts)
    # It is back so soon that the others may not even notice.
    _wait_for(lambda: stack.status(idle)["postgres"]["pid"] not in (None, parts["postgres"]["pid"]))
    _wait_for(lambda: _healed(idle, set()))
    for name in ("airflow-scheduler", "airflow-dag-processor"):
        _kill(name, stack.status(idle))
    _wait_for(lambda: _healed(idle, {"airflow-scheduler", "airflow-dag-processor"}))

    running = _identities(idle)
    os.kill(_state(idle)["supervisor"]["pid"], signal.SIGKILL)
    _wait_for(lambda: "supervisor" not in stack.status(idle))
    assert stack.status(idle)["mlflow"]["state"] == "orphaned"
    _join_and_leave(idle)
    assert postmaster_pid(idle.home / "postgres") is not None, "Airflow still uses it"

    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stopped = stack.down(idle, say=told.append)["stopped"]
    assert set(stopped) == PARTS - {"supervisor"}
    _wait_for(lambda: not any(identity.alive for identity in running), 10.0)
    assert postmaster_pid(idle.home / "postgres") is None
    assert bystander.poll() is None
    bystander.communicate(b"\n", timeout=10)
    assert stack.status(idle) == {}
    assert stack.down(idle, say=_silence) == {"stopped": []}


def _kill(name: str, parts: dict[str, dict[str, Any]]) -> None:
    os.kill(parts[name]["pid"], signal.SIGKILL)


def _healed(settings: Settings, killed: set[str]) -> bool:
    parts = stack.status(settings)
    again = all(parts[name]["restarts"] >= 1 for name in killed)
    return again and all(part["state"] in ("healthy", "up") for part in parts.values())


def _join_and_leave(settings: Settings) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines.database import embedded_server;"
        "embedded_server(Path(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(settings.home / "postgres")], check=True, timeout=60
    )


def test_a_port_in_use_is_refused_with_its_setting_and_its_holder(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = _settings(tmp_path / "home", **{"stack.mlflow_port": port})
        with pytest.raises(
            ConfigError, match=rf"port {port} .*stack\.mlflow_port.*process {os.getpid()}"
        ):
            stack.up(settings, say=_silence)
    assert stack.status(settings) == {}


@pytest.mark.stack
def test_a_stack_that_cannot_start_says_why_and_leaves_nothing_behind(tmp_path: Path) -> None:
    nobody = "postgresql://127.0.0.1:1/postgres"
    settings = _settings(tmp_path / "home", database_url=nobody)
    with pytest.raises(SourceUnavailable, match="does not answer"):
        stack.up(settings, say=_silence)
    assert stack.status(settings) == {}
    assert not state_file(settings.home).exists()


@pytest.mark.stack
def test_celery_without_a_broker_is_a_mistake_of_configuration(idle: Settings) -> None:
    celery = idle.stack.model_copy(update={"executor": "CeleryExecutor"})
    with pytest.raises(ConfigError, match=r"stack\.broker_url is not set"):
        stack.up(idle.model_copy(update={"stack": celery}), say=_silence)


def test_a_second_command_does_not_start_or_stop_beside_the_first(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "home")
    with stack._alone(settings.home), pytest.raises(ConfigError, match="another command"):
        stack.down(settings, say=_silence)


def test_the_keys_of_a_home_are_made_once_and_are_its_owners_alone(tmp_path: Path) -> None:
    keys = stack_secrets(tmp_path)
    assert stack_secrets(tmp_path) == keys
    assert len(keys["jwt_secret"]) == 128
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert stack_secrets(tmp_path / "other") != keys


def test_without_airflow_its_client_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="run `hourglass up`"):
        AirflowClient(_settings(tmp_path / "home"))
