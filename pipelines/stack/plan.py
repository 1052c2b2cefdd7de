"""What the local stack consists of: the processes, their environment, their health.

Everything is said by environment variables, so that the containers say the same.
"""

import json
import os
import secrets
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.database import DatabaseUrls
from pipelines.errors import ConfigError
from pipelines.settings import PREFIX, Settings

_REPOSITORY = Path(__file__).resolve().parents[2]
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EXECUTORS = {
    "LocalExecutor": "pipelines.airflow.executor.PreloadedLocalExecutor",
    "CeleryExecutor": "CeleryExecutor",
}


@dataclass(frozen=True)
class Component:
    """One process of the stack.

    Parameters
    ----------
    name : str
        Also the name of its log.
    command : tuple of str
    environment : mapping
        The whole environment of the process.
    health_url : str or None
        Answers 200 when it is well; None means that running is enough.
    health_key : str or None
        The part of Airflow's health report that speaks for it.
    url : str or None
        Where a person looks at it.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    health_url: str | None = None
    health_key: str | None = None
    url: str | None = None


def dags_folder() -> Path:
    """Return the repository's dags/; ConfigError where only the packages are installed."""
    return _beside_packages("dags")


def _beside_packages(name: str) -> Path:
    folder = _REPOSITORY / name
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} does not exist: the packages are installed without the repository",
            remedy="run `pip install -e .` in a clone of the repository",
        )
    return folder


def address(settings: Settings, port: int) -> str:
    """Return the URL under which this machine reaches a port of the stack."""
    host = settings.stack.host
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"


def airflow_url(settings: Settings) -> str:
    """Return the address of Airflow's pages and API."""
    return address(settings, settings.stack.airflow_port)


def mlflow_url(settings: Settings) -> str:
    """Return the address of MLflow's pages and API."""
    return address(settings, settings.stack.mlflow_port)


def mlflow_run_page(settings: Settings, experiment_id: str | None, run_id: str | None) -> str:
    """Return the page of a run on the tracking server, or the stack's own; empty if there is no run."""
    if not experiment_id or not run_id:
        return ""
    server = settings.mlflow.tracking_uri or mlflow_url(settings)
    return f"{server}/#/experiments/{experiment_id}/runs/{run_id}"


def migration(settings: Settings, databases: DatabaseUrls, token: Mapping[str, str]) -> Component:
    """Return the command that brings Airflow's database to the installed version."""
    environment = {**_airflow_environment(settings, databases), **token}
    return Component("airflow-migrate", _airflow("db", "migrate"), environment)


def components(
    settings: Settings, databases: DatabaseUrls, token: Mapping[str, str]
) -> list[Component]:
    """Return the long-lived processes of the stack, in the order in which they start.

    Raises
    ------
    ConfigError
        If the executor has no broker, or dags/ or mlflow/ are not there.
    """
    environment = {**_airflow_environment(settings, databases), **token}
    health = f"{airflow_url(settings)}/api/v2/monitor/health"
    airflow = [
        Component(
            "airflow-api-server",
            _airflow("api-server"),
            environment,
            health,
            "metadatabase",
            airflow_url(settings),
        ),
        *(
            Component(f"airflow-{name}", _airflow(name, *options), environment, health, key)
            for name, key, options in (
                ("scheduler", "scheduler", ("--skip-serve-logs",)),
                ("dag-processor", "dag_processor", ()),
                ("triggerer", "triggerer", ("--skip-serve-logs",)),
            )
        ),
    ]
    if settings.stack.executor == "CeleryExecutor":
        if settings.stack.broker_url is None:
            raise ConfigError(
                "stack.executor is CeleryExecutor and stack.broker_url is not set",
                remedy="set stack.broker_url, e.g. redis://127.0.0.1:6379/0",
            )
        worker = ("celery", "worker", "--skip-serve-logs", "--without-gossip", "--without-mingle")
        airflow.append(Component("airflow-celery-worker", _airflow(*worker), environment))
    return [_mlflow(settings, databases, token), *airflow]


def _mlflow(settings: Settings, databases: DatabaseUrls, token: Mapping[str, str]) -> Component:
    url = mlflow_url(settings)
    host, port = settings.stack.host, settings.stack.mlflow_port
    return Component(
        "mlflow",
        ("sh", str(_beside_packages("mlflow") / "start.sh")),
        {
            **_inherited(settings, databases),
            **token,
            "PYTHON": sys.executable,
            "MLFLOW_BACKEND_STORE_URI": databases.mlflow,
            "MLFLOW_ARTIFACTS_DESTINATION": settings.artifact_uri,
            "MLFLOW_HOST": host,
            "MLFLOW_PORT": str(port),
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"{host}:{port},127.0.0.1:{port},localhost:{port}",
        },
        f"{url}/health",
        url=url,
    )


def _airflow(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "airflow", *arguments)


def _airflow_environment(settings: Settings, databases: DatabaseUrls) -> dict[str, str]:
    keys = stack_secrets(settings.home)
    stack = settings.stack
    return {
        **_inherited(settings, databases),
        "AIRFLOW_HOME": str(settings.home / "airflow"),
        "AIRFLOW__API__BASE_URL": airflow_url(settings),
        "AIRFLOW__API__HOST": stack.host,
        "AIRFLOW__API__PORT": str(stack.airflow_port),
        "AIRFLOW__API__SECRET_KEY": keys["api_secret_key"],
        "AIRFLOW__API__INSTANCE_NAME": "Hourglass",
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt_secret"],
        # A longer one lets a scheduler whose clock is adjusted keep its tasks.
        "AIRFLOW__API_AUTH__JWT_LEEWAY": "60",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder()),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{airflow_url(settings)}/execution/",
        "AIRFLOW__CORE__EXECUTOR": _EXECUTORS[stack.executor],
        "AIRFLOW__CORE__FERNET_KEY": keys["fernet_key"],
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": str(stack.parallelism),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": str(not asks_for_password(settings)),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(settings)),
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": databases.airflow,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(settings.home / "logs" / "tasks"),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # So long may a worker wait for the end of a task that has said all; a skipped one is told of then.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__CELERY__BROKER_URL": stack.broker_url or "",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{databases.airflow}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(stack.parallelism),
        # Longer than any task: the broker gives a task that is not done by then to another worker.
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
    }


def asks_for_password(settings: Settings) -> bool:
    """Say whether Airflow asks who one is: unless only this machine reaches it."""
    return settings.stack.host not in _LOOPBACK


def passwords_file(settings: Settings) -> Path:
    """Return the file of the administrator's password, where Airflow asks for one; made once."""
    path = settings.home / "airflow" / "passwords.json"
    if asks_for_password(settings) and not path.is_file():
        # Airflow would make it too, but readable by everybody.
        write_private(path, json.dumps({"admin": secrets.token_urlsafe(18)}))
    return path


def _inherited(settings: Settings, databases: DatabaseUrls) -> dict[str, str]:
    """Return the caller's environment with one answer to every setting: the resolved ones."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    loopback = ",".join(_LOOPBACK)
    return {
        **ours,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": f"{os.environ.get('NO_PROXY', '')},{loopback}".lstrip(","),
        "no_proxy": f"{os.environ.get('no_proxy', '')},{loopback}".lstrip(","),
        "HOURGLASS_CONFIG": str(resolved_settings_file(settings.home)),
        "HOURGLASS_HOME": str(settings.home),
        "HOURGLASS_DATABASE_URL": databases.server,
    }


def resolved_settings_file(home: Path) -> Path:
    """Return the file that hands the resolved settings to every process of the stack."""
    return home / "run" / "settings.yaml"


def write_resolved_settings(settings: Settings) -> Path:
    """Write the resolved settings, readable by their owner only."""
    path = resolved_settings_file(settings.home)
    write_private(path, json.dumps(settings.model_dump(mode="json"), indent=2))
    return path


def stack_secrets(home: Path) -> dict[str, str]:
    """Return the keys that sign this home's sessions and tokens; made once, mode 0600."""
    path = home / "secrets.json"
    if not path.is_file():
        made = {
            "jwt_secret": secrets.token_hex(64),
            "api_secret_key": secrets.token_hex(32),
            "fernet_key": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        write_private(path, json.dumps(made))
    return dict(json.loads(path.read_text(encoding="utf-8")))


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
