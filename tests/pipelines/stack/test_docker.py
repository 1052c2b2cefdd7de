"""The containers say what the local stack says, and hold no secret."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from pipelines.settings import load_settings

REPOSITORY = Path(__file__).resolve().parents[3]
DOCKER = REPOSITORY / "docker"
COMPOSE = DOCKER / "compose.yaml"
EXAMPLE = DOCKER / ".env.example"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())


def _example() -> dict[str, str]:
    lines = (line.strip() for line in EXAMPLE.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _compose_command() -> list[str] | None:
    """The compose of this machine: the plugin of the docker client, or the older program."""
    if (
        shutil.which("docker")
        and not subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def _config(*options: str) -> subprocess.CompletedProcess[str]:
    command = _compose_command()
    if command is None:
        pytest.skip("neither `docker compose` nor docker-compose is installed")
    return subprocess.run(
        [*command, *options, "-f", str(COMPOSE), "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        timeout=60,
    )


def test_compose_accepts_the_file_with_the_example_environment() -> None:
    checked = _config("--env-file", str(EXAMPLE))
    assert checked.returncode == 0, checked.stderr


def test_compose_refuses_to_start_without_secrets() -> None:
    checked = _config()
    assert checked.returncode != 0
    assert "set it in docker/.env" in checked.stderr


def test_every_variable_of_the_file_is_in_the_example_and_the_other_way_round() -> None:
    used = set(re.findall(r"\$\{([A-Z_0-9]+)", COMPOSE.read_text()))
    assert used == set(_example())


def test_no_secret_is_written_in_the_files_of_the_containers_and_of_mlflow() -> None:
    for path in (COMPOSE, DOCKER / "Dockerfile", *(REPOSITORY / "mlflow").iterdir()):
        for line in path.read_text().splitlines():
            found = re.search(r"(?i)(password|secret|_key)[a-z_]*\s*[:=]\s*[\"']?(\w+)", line)
            assert found is None or line.lstrip().startswith(("#", ";")), f"{path.name}: {line}"


def test_every_service_has_a_health_check_restarts_and_pins_its_image(
    compose: dict[str, Any],
) -> None:
    for name, service in compose["services"].items():
        image = service["image"]
        assert ":" in image, name
        assert not image.endswith(":latest"), name
        if name != "prepare":
            assert "healthcheck" in service, name
            assert service["restart"] == "unless-stopped", name


def test_the_topology_is_the_one_of_celery(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {
        "postgres",
        "redis",
        "store",
        "prepare",
        "mlflow",
        "airflow-api-server",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-triggerer",
        "airflow-worker",
    }
    for name, service in compose["services"].items():
        if name.startswith("airflow-"):
            assert service["environment"]["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


def test_the_settings_of_the_containers_are_settings_of_hourglass(compose: dict[str, Any]) -> None:
    example = _example()

    def fill(text: str) -> str:
        return re.sub(r"\$\{([A-Z_0-9]+)[^}]*\}", lambda name: example[name.group(1)], text)

    environment = compose["services"]["airflow-worker"]["environment"]
    ours = {k: fill(v) for k, v in environment.items() if k.startswith("HOURGLASS_")}
    settings = load_settings(environ=ours)
    assert settings.lake_uri == "s3://hourglass/lake"
    assert settings.artifact_uri == "s3://hourglass/artifacts"
    assert settings.mlflow.tracking_uri == "http://mlflow:5000"
    assert settings.exchange.base_url is None
    assert settings.database_url == "postgresql://hourglass:change-me@postgres:5432/postgres"


def test_the_image_runs_as_somebody_else_than_root_from_the_lock() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text()
    stages = dockerfile.split("\nFROM ")
    assert len(stages) == 3
    assert "--constraint requirements.lock" in stages[1]
    assert re.search(r"^USER hourglass$", stages[2], re.MULTILINE)


def test_the_folder_mlflow_hides_no_package() -> None:
    """Without Python in it, the folder cannot stand in front of the installed package."""
    assert not list((REPOSITORY / "mlflow").rglob("*.py"))
    assert not list((REPOSITORY / "docker").rglob("*.py"))
    assert mlflow.__file__ is not None
    assert "site-packages" in Path(mlflow.__file__).parts
    found = importlib.util.find_spec("mlflow.tracking")
    assert found is not None


def test_the_start_script_refuses_to_start_without_a_database() -> None:
    started = subprocess.run(
        ["sh", str(REPOSITORY / "mlflow" / "start.sh")],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
        timeout=20,
    )
    assert started.returncode != 0
    assert "the database URL is not set" in started.stderr
