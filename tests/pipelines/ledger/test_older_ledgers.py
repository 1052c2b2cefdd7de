"""A ledger that was written at schema 0001 goes on at the newest one, and still verifies."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url

from evaluation.attribution import attribute, round_trips
from pipelines.ledger import Ledger
from pipelines.ledger.schema import HEAD, metadata

START = datetime(2024, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def old_url(ledger_database: str, old_backup: Path) -> Iterator[str]:
    """URL of a database at schema 0001, with the rows Hourglass wrote then."""
    name = f"old_{uuid4().hex[:8]}"
    server = sa.create_engine(ledger_database, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    url = make_url(ledger_database).set(database=name)
    engine = sa.create_engine(
        url, poolclass=sa.NullPool, connect_args={"options": "-c timezone=UTC"}
    )
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "pipelines.ledger:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for table in metadata.sorted_tables:
            file = old_backup / f"{table.name}.copy"
            if file.is_file():
                cursor = connection.connection.driver_connection.cursor()
                with cursor.copy(f"COPY {table.name} FROM STDIN") as copy:
                    copy.write(file.read_bytes())
    yield url.render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def old_ledger(old_url: str) -> Iterator[Ledger]:
    ledger = Ledger(old_url)
    yield ledger
    ledger.close()


def test_a_migrated_ledger_verifies_hour_by_hour_and_trades_on(
    old_ledger: Ledger, lively: Any
) -> None:
    with old_ledger._engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == HEAD
        told = connection.scalars(
            sa.text("SELECT payload -> 'schema' FROM audit WHERE kind = 'hour_traded'")
        ).all()
    assert told == [None] * 8
    assert old_ledger.verify() == []
    status = old_ledger.status(START + 8 * HOUR)
    held = {book["book"]: [p["symbol"] for p in book["positions"]] for book in status["books"]}
    assert held == {"model-1": [], "model-2": ["BTC/USDT"]}
    for book in old_ledger.books():
        lively.trade(old_ledger, book, 9, 12)
    assert old_ledger.verify() == []


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE fills SET arrival_price = price WHERE side = 'buy'",
        "UPDATE orders SET cause = 'signal'",
        "UPDATE fills SET ordinal = 0",
        "INSERT INTO trades SELECT gen_random_uuid(), book_id, symbol, known_at, known_at - interval '1 hour',"
        " known_at, 'long', 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, NULL, NULL, NULL, 'market', 'signal', 'x' FROM fills",
    ],
)
def test_what_is_written_into_an_old_hour_afterwards_shows(
    tampering: str, old_ledger: Ledger, old_url: str
) -> None:
    engine = sa.create_engine(old_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("SET session_replication_role = replica"))
        connection.execute(sa.text(tampering))
    assert any("are not those that were traded" in found for found in old_ledger.verify())


def test_an_old_hour_is_compared_only_when_it_is_asked_for(
    ledger: Ledger, lively: Any, execute: Callable[..., None]
) -> None:
    lively.trade(ledger, lively.open_model(ledger), 1, 6)
    execute("UPDATE signals SET sigma = 1 WHERE known_at = '2024-06-01T02:00Z'", as_owner=True)
    assert ledger.verify(since=START + 2 * HOUR) == []
    (finding,) = ledger.verify(since=START + HOUR)
    assert finding == ("book model-1: the rows of 2024-06-01T02:00Z are not those that were traded")


def test_hours_of_before_there_was_a_ramp_count_at_their_full_size(old_ledger: Ledger) -> None:
    returns, fills = old_ledger.returns("model-1", START + 400 * HOUR)
    assert set(returns["share"]) == {1.0}
    assert returns.height > 0
    assert fills > 0


def test_its_profit_is_attributed_to_the_last_cent_without_a_journal(old_ledger: Ledger) -> None:
    records = old_ledger.profits(START + timedelta(days=365))
    sums = dict(attribute(round_trips(*records)).select("book", "pnl").rows())
    changes = {name: equity - initial for name, initial, equity in records.equity.rows()}
    assert changes == sums
    assert records.fills.height > 0
