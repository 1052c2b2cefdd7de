import pytest
import sqlalchemy as sa

from pipelines.database import open_databases
from pipelines.errors import ConfigError, SourceUnavailable
from pipelines.settings import Settings, load_settings


def test_the_four_databases_are_created_once_and_then_found(settings: Settings) -> None:
    first = open_databases(settings)
    assert open_databases(settings) == first
    for url in (first.ledger, first.mlflow, first.optuna, first.airflow):
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT 1")) == 1
        engine.dispose()


def test_another_database_than_postgresql_is_refused_by_name(home) -> None:
    broken = load_settings({"home": str(home), "database_url": "mysql://h/db"}, environ={})
    with pytest.raises(ConfigError, match="not a PostgreSQL URL"):
        open_databases(broken)


def test_a_server_that_does_not_answer_is_a_source_unavailable(home) -> None:
    nobody = {"home": str(home), "database_url": "postgresql://127.0.0.1:1/postgres"}
    with pytest.raises(SourceUnavailable, match="does not answer"):
        open_databases(load_settings(nobody, environ={}))
