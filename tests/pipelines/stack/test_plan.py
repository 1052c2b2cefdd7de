from pathlib import Path
from typing import Any

import pytest

from pipelines.database import DatabaseUrls
from pipelines.errors import ConfigError
from pipelines.settings import Settings, load_settings
from pipelines.stack import plan as stack_plan

DATABASES = DatabaseUrls(
    *(f"postgresql+psycopg://h/{n}" for n in ("s", "ledger", "mlflow", "optuna", "airflow"))
)


def _settings(home: Path, **keys: Any) -> Settings:
    return load_settings({"home": str(home), **keys}, environ={})


def _components(settings: Settings) -> dict[str, stack_plan.Component]:
    return {part.name: part for part in stack_plan.components(settings, DATABASES, {"TOKEN": "t"})}


def test_every_process_is_told_the_resolved_settings_and_nothing_of_the_callers(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOURGLASS_VENUE", "upbit")
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_HOST", "mail")
    for part in _components(_settings(home)).values():
        ours = {k: v for k, v in part.environment.items() if k.startswith("HOURGLASS_")}
        assert ours == {
            "HOURGLASS_CONFIG": str(home / "run" / "settings.yaml"),
            "HOURGLASS_HOME": str(home),
            "HOURGLASS_DATABASE_URL": DATABASES.server,
        }
        assert part.environment["TOKEN"] == "t"
        assert part.environment["AIRFLOW__SMTP__SMTP_HOST"] == "mail"


def test_the_settings_file_is_read_back_as_the_same_settings(home: Path) -> None:
    options = {
        "lake.storage_options": {"AWS_REGION": "eu"},
        "training.model_params": {"max_depth": 3},
    }
    settings = _settings(home, venue="upbit", universe=["BTC/KRW"], **options)
    path = stack_plan.write_resolved_settings(settings)
    assert load_settings(environ={"HOURGLASS_CONFIG": str(path)}) == settings
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_secret_is_on_a_command_line(home: Path) -> None:
    secrets = set(stack_plan.stack_secrets(home).values()) | {DATABASES.mlflow, DATABASES.airflow}
    for part in _components(_settings(home)).values():
        assert not secrets & set(" ".join(part.command).split())


def test_only_a_loopback_address_is_open_to_everybody_on_the_machine(home: Path) -> None:
    for host, open_to_all in (("127.0.0.1", "True"), ("0.0.0.0", "False"), ("10.0.0.7", "False")):
        settings = _settings(home / host, **{"stack.host": host})
        part = _components(settings)["airflow-api-server"]
        assert part.environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == open_to_all
        passwords = stack_plan.passwords_file(settings)
        assert passwords.is_file() == (open_to_all == "False")
        assert not passwords.is_file() or passwords.stat().st_mode & 0o777 == 0o600


def test_celery_adds_a_worker_and_needs_a_broker(home: Path) -> None:
    celery = {"stack.executor": "CeleryExecutor"}
    with pytest.raises(ConfigError, match=r"stack\.broker_url is not set"):
        _components(_settings(home, **celery))
    with_broker = _settings(home, **celery, **{"stack.broker_url": "redis://127.0.0.1:6379/0"})
    worker = _components(with_broker)["airflow-celery-worker"]
    assert worker.environment["AIRFLOW__CELERY__RESULT_BACKEND"] == f"db+{DATABASES.airflow}"
    assert "airflow-celery-worker" not in _components(_settings(home))


def test_an_address_of_all_interfaces_is_reached_over_loopback(home: Path) -> None:
    settings = _settings(home, **{"stack.host": "0.0.0.0", "stack.airflow_port": 8088})
    assert stack_plan.airflow_url(settings) == "http://127.0.0.1:8088"


def test_a_runs_page_is_on_the_named_server_or_on_the_stacks_own(home: Path) -> None:
    page = stack_plan.mlflow_run_page
    own, named = (
        _settings(home),
        _settings(home, **{"mlflow.tracking_uri": "https://mlflow.example"}),
    )
    assert page(own, "1", "abc") == "http://127.0.0.1:5000/#/experiments/1/runs/abc"
    assert page(named, "1", "abc") == "https://mlflow.example/#/experiments/1/runs/abc"
    assert page(own, None, "abc") == page(own, "1", None) == ""


def test_packages_without_the_repository_have_no_dags(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stack_plan, "_REPOSITORY", tmp_path)
    with pytest.raises(ConfigError, match="installed without the repository"):
        stack_plan.dags_folder()
