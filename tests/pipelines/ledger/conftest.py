"""A ledger on a real PostgreSQL, and books that trade."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa

from pipelines.ledger import Ledger

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def lively() -> ModuleType:
    """The books of lively_books.py."""
    spec = importlib.util.spec_from_file_location("lively_books", HERE / "lively_books.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def old_backup() -> Path:
    """A backup of a ledger that Hourglass wrote and traded at schema 0001."""
    return HERE / "at_0001"


@pytest.fixture
def url(ledger_url: str) -> str:
    return ledger_url


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    ledger = Ledger(url)
    yield ledger
    ledger.close()


@pytest.fixture
def execute(url: str) -> Callable[..., None]:
    """`execute(statement, as_owner=)`; `as_owner` switches the triggers off, as only a superuser can."""

    def run(statement: str, *, as_owner: bool = False) -> None:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            if as_owner:
                connection.execute(sa.text("SET session_replication_role = replica"))
            connection.execute(sa.text(statement))

    return run
