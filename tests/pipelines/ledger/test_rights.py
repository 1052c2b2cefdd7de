"""The writer's role: append and read, and nothing else, whatever becomes of the triggers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from pipelines.database import embedded_server
from pipelines.ledger import Ledger
from pipelines.ledger.rights import WRITER
from pipelines.ledger.schema import metadata


@contextmanager
def without_triggers(execute: Callable[..., None]) -> Iterator[None]:
    for name in metadata.tables:
        execute(f"ALTER TABLE {name} DISABLE TRIGGER ALL")
    try:
        yield
    finally:
        for name in metadata.tables:
            execute(f"ALTER TABLE {name} ENABLE TRIGGER ALL")


def as_writer(ledger: Ledger, statement: str) -> None:
    """Run a statement over the very connections the ledger trades with."""
    with ledger._engine.begin() as connection:
        connection.execute(sa.text(statement))


def test_changes_fail_by_right_even_with_the_triggers_disabled(
    ledger: Ledger, lively: Any, execute: Callable[..., None]
) -> None:
    lively.trade(ledger, lively.open_model(ledger), 1, 3)
    assert ledger.append_only_by_right
    with without_triggers(execute):
        for name, table in metadata.tables.items():
            column = next(iter(table.columns)).name
            for statement in (
                f"UPDATE {name} SET {column} = {column}",
                f"DELETE FROM {name}",
                f"TRUNCATE {name} CASCADE",
                f"DROP TABLE {name}",
            ):
                with pytest.raises(
                    sa.exc.ProgrammingError, match=r"permission denied|must be owner"
                ):
                    as_writer(ledger, statement)
        # The ledger itself goes on appending.
        lively.trade(ledger, ledger.books()[0], 4, 5)
    assert ledger.verify() == []


def test_resetting_the_role_does_not_make_a_writer_the_owner(ledger: Ledger) -> None:
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        as_writer(ledger, "RESET ROLE; DELETE FROM books")


def test_a_right_that_somebody_granted_is_taken_back_when_the_ledger_is_opened(
    ledger: Ledger, url: str, execute: Callable[..., None]
) -> None:
    execute(f"GRANT UPDATE, DELETE ON fills TO {WRITER}")
    Ledger(url).close()
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        as_writer(ledger, "UPDATE fills SET price = 1")


@pytest.fixture
def modest_url(ledger_database: str) -> Iterator[str]:
    """URL of a database of its own, owned by a login that may create no role."""
    login, name = f"modest_{uuid4().hex[:8]}", f"modest_{uuid4().hex[:8]}"
    server = sa.create_engine(ledger_database, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE ROLE {login} LOGIN"))
        connection.execute(sa.text(f"CREATE DATABASE {name} OWNER {login}"))
    url = make_url(ledger_database).set(username=login, database=name)
    yield url.render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        connection.execute(sa.text(f"DROP ROLE {login}"))


def test_a_login_that_may_create_no_role_trades_behind_triggers_alone(
    modest_url: str, ledger: Ledger, lively: Any
) -> None:
    # The role exists on this server, made by somebody else: this login is not one of its members.
    assert ledger.append_only_by_right
    modest = Ledger(modest_url)
    try:
        assert not modest.append_only_by_right
        lively.trade(modest, lively.open_model(modest), 1, 2)
        assert modest.verify() == []
        with pytest.raises(sa.exc.IntegrityError, match="append-only"):
            as_writer(modest, "DELETE FROM equity")
    finally:
        modest.close()


def test_a_member_of_the_role_that_may_create_none_gives_it_its_rights(
    modest_url: str, ledger: Ledger, execute: Callable[..., None]
) -> None:
    execute(f"GRANT {WRITER} TO {make_url(modest_url).username}")
    assert ledger.append_only_by_right
    modest = Ledger(modest_url)
    modest.close()
    assert modest.append_only_by_right


def test_a_new_server_gets_the_role_from_a_login_that_may_create_it(server_path: Path) -> None:
    server = embedded_server(server_path / "data")
    superuser = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(superuser, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE ROLE clerk LOGIN CREATEROLE"))
        connection.execute(sa.text("CREATE DATABASE books OWNER clerk"))
    clerk = superuser.set(username="clerk", database="books")
    ledger = Ledger(clerk.render_as_string(hide_password=False))
    assert ledger.append_only_by_right
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        as_writer(ledger, "DELETE FROM books")
    ledger.close()
    server.cleanup()
