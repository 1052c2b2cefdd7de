"""The MLflow server as the containers start it: one script, names and passwords, no secret in a file."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

pytestmark = [pytest.mark.stack, pytest.mark.slow]

SCRIPT = Path(__file__).resolve().parents[3] / "mlflow" / "start.sh"
PASSWORD = "a-password-of-this-test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[str]:
    """Address of a server with basic authentication over the session's PostgreSQL."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS hourglass_mlflow WITH (FORCE)")
        connection.execute("CREATE DATABASE hourglass_mlflow")
        host = connection.info.host
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("a server")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHON": sys.executable,
        "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg:///hourglass_mlflow",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_PORT": str(port),
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port}",
        "MLFLOW_BASIC_AUTH": "true",
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        "PGHOST": host,
        "PGUSER": "postgres",
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", str(SCRIPT)],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}", process, folder / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait(20)
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute("DROP DATABASE hourglass_mlflow WITH (FORCE)")


def _wait_until_healthy(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.25)
    raise AssertionError(log.read_text()[-2000:])


def test_only_who_knows_the_password_sees_the_runs(server: str) -> None:
    search = f"{server}/api/2.0/mlflow/experiments/search"
    body = {"max_results": 1}
    assert httpx.post(search, json=body, trust_env=False).status_code == 401
    wrong = httpx.post(search, json=body, auth=("admin", "wrong"), trust_env=False)
    assert wrong.status_code == 401
    right = httpx.post(search, json=body, auth=("admin", PASSWORD), trust_env=False)
    assert right.status_code == 200


def test_another_host_name_is_refused(server: str) -> None:
    foreign = {"Host": "evil.example"}
    answer = httpx.get(
        f"{server}/api/2.0/mlflow/experiments/get",
        headers=foreign,
        trust_env=False,
        auth=("admin", PASSWORD),
    )
    assert answer.status_code == 403
