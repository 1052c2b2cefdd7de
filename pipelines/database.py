"""One PostgreSQL server, four databases: ledger, MLflow, Optuna, Airflow.

By default the server is embedded (a wheel) and lives under `<home>/postgres`, reached over a unix
socket; any other PostgreSQL is used through `database_url`. The embedded server is shared by all
processes of one home and stops with the last of them.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from pipelines.embedded_postgres import EmbeddedServer
from pipelines.errors import ConfigError, SourceUnavailable
from pipelines.settings import Settings

DATABASES = ("hourglass_ledger", "hourglass_mlflow", "hourglass_optuna", "hourglass_airflow")


@dataclass(frozen=True)
class DatabaseUrls:
    """SQLAlchemy URLs (driver psycopg) of the four databases and of the server itself."""

    server: str
    ledger: str
    mlflow: str
    optuna: str
    airflow: str


def open_databases(settings: Settings) -> DatabaseUrls:
    """Start or join the server, create the databases that are missing, and return their URLs.

    Raises
    ------
    SourceUnavailable
        If the server does not answer.
    ConfigError
        If `database_url` is not a PostgreSQL URL.
    """
    server = _server_url(settings)
    try:
        _create_missing(server, DATABASES)
    except sa.exc.OperationalError as error:
        raise SourceUnavailable(
            f"database {server.set(drivername='postgresql').render_as_string()} does not answer: "
            f"{_first_line(error.orig or error)}",
            remedy="start it, or unset database_url to use the embedded one",
        ) from error
    ledger, mlflow, optuna, airflow = (_render(server.set(database=name)) for name in DATABASES)
    return DatabaseUrls(_render(server), ledger, mlflow, optuna, airflow)


@contextmanager
def temporary_database(settings: Settings, purpose: str) -> Iterator[str]:
    """Yield the URL of an empty database on the same server; it is dropped afterwards.

    Raises
    ------
    SourceUnavailable
        If the server does not answer.
    """
    server = make_url(open_databases(settings).server)
    name = f"hourglass_{purpose}_{uuid4().hex[:12]}"
    _create_missing(server, (name,))
    try:
        yield _render(server.set(database=name))
    finally:
        engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


def _server_url(settings: Settings) -> URL:
    if settings.database_url is None:
        return make_url(embedded_server(settings.home / "postgres").get_uri()).set(
            drivername="postgresql+psycopg"
        )
    try:
        url = make_url(settings.database_url)
    except sa.exc.ArgumentError:
        url = None
    if url is None or url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigError(
            "database_url is not a PostgreSQL URL",
            remedy="write it as postgresql://user:password@host:5432/postgres",
        )
    return url.set(drivername="postgresql+psycopg", database=url.database or "postgres")


@cache
def _joined(data_folder: Path, process: int) -> EmbeddedServer:  # noqa: ARG001
    return EmbeddedServer(data_folder)


def embedded_server(data_folder: Path) -> EmbeddedServer:
    """Start, or join, the embedded PostgreSQL of `data_folder`; it stops with its last user.

    Raises
    ------
    SourceUnavailable
        If it does not start.
    """
    try:
        server = _joined(data_folder, os.getpid())
        server.join()
        return server
    except (OSError, subprocess.SubprocessError) as error:
        raise SourceUnavailable(
            f"the embedded database under {data_folder} did not start: {_first_line(error)}",
            remedy=f"read {data_folder / 'postgres.log'}; check the disk and the folder's permissions",
        ) from error


def _create_missing(server: URL, names: Sequence[str]) -> None:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        present = set(connection.scalars(sa.text("SELECT datname FROM pg_database")))
        for name in names:
            if name not in present:
                try:
                    connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
                except (sa.exc.ProgrammingError, sa.exc.IntegrityError):
                    # Another process made it between the look and the creation.
                    connection.rollback()


def _render(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
