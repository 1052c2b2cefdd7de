"""Bars made by hand, and a home whose venue is the simulator: no database is needed for these."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from pipelines import database
from pipelines.context import Context
from pipelines.lake import Lake
from pipelines.market_simulator import Simulator, SyntheticMarket, running_simulator
from pipelines.market_simulator.bars import HOUR, Request
from pipelines.market_simulator.clock import milliseconds
from pipelines.settings import load_settings
from pipelines.tables import BARS, KEY

STEP = timedelta(hours=1)
# The hour that the simulated venues have just closed.
HOUR_CLOSED = datetime(2024, 6, 1, 14, tzinfo=UTC)
UNIVERSE = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
# Pauses of a second at most: the real ones belong to real venues.
# Nothing is read beside the bars: what is, has tests of its own.
IMPATIENT = {
    "sources.enabled": [],
    "exchange.max_attempts": 3,
    "exchange.backoff_seconds": 0.01,
    "exchange.max_backoff_seconds": 0.3,
    "exchange.timeout_seconds": 0.5,
}


@pytest.fixture(scope="session")
def make_bars() -> Callable[..., pl.DataFrame]:
    """`make_bars(start, hours, symbols)`: hourly bars known from one hour after `start`."""

    def make(
        start: datetime = datetime(2024, 1, 1, tzinfo=UTC),
        hours: int = 3,
        symbols: tuple[str, ...] = ("BTC/USDT", "ETH/USDT"),
        **columns: Any,
    ) -> pl.DataFrame:
        rows = [
            {
                "venue": "binance",
                "symbol": symbol,
                "known_at": start + (hour + 1) * STEP,
                "open_time": start + hour * STEP,
                "open": 100.0 + hour,
                "high": 102.0 + hour,
                "low": 99.0 + hour,
                "close": 101.0 + hour,
                "volume": 10.0,
                "quote_volume": 10.0 * (100.5 + hour),
                "trades": 7,
                "taker_buy_volume": 4.0,
                "ingested_at": start,
                **columns,
            }
            for symbol in symbols
            for hour in range(hours)
        ]
        return pl.DataFrame(rows, schema=BARS.schema).sort(BARS.key)

    return make


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def market() -> SyntheticMarket:
    """The healthy market all simulated venues of these tests serve."""
    return SyntheticMarket((*UNIVERSE, "BTC/USDT:USDT", "BTC/KRW", "ETH/KRW"), seed=7)


@pytest.fixture
def simulate(
    market: SyntheticMarket,
) -> Callable[..., AbstractContextManager[Simulator]]:
    """`simulate(faults=[...])` serves the market with its clock ten minutes after HOUR_CLOSED."""

    def start(**options: Any) -> AbstractContextManager[Simulator]:
        now = HOUR_CLOSED + timedelta(minutes=10)
        return running_simulator(market, **{"now": now, **options})

    return start


@pytest.fixture
def open_context(home: Path) -> Iterator[Callable[..., Context]]:
    """`open_context(base_url, **settings)`: the world over an empty home and a simulated venue."""
    with ExitStack() as stack:

        def make(base_url: str, **overrides: Any) -> Context:
            keys = {"home": str(home), "universe": list(UNIVERSE), "exchange.base_url": base_url}
            keys |= IMPATIENT | {name.replace("__", "."): v for name, v in overrides.items()}
            return stack.enter_context(Context(load_settings(keys, environ={})))

        yield make


@pytest.fixture(scope="session")
def truth(market: SyntheticMarket) -> Callable[..., pl.DataFrame]:
    """`truth(start, end)`: what the market itself says, as key, prices and volumes."""

    def bars(
        start: datetime, end: datetime, symbols: tuple[str, ...] = UNIVERSE, venue: str = "binance"
    ) -> pl.DataFrame:
        exchange = {"binance": "binance_spot", "binanceusdm": "binance_perp", "upbit": "upbit_spot"}
        frames = []
        for item in market.instruments:
            if item.symbol not in symbols or item.exchange != exchange[venue]:
                continue
            asked = Request(
                milliseconds(start), milliseconds(end) - 1, 10**6, False, milliseconds(end)
            )
            found = market.bars(item, HOUR, asked)
            frame = pl.DataFrame(
                {"open_time": found.open_time}
                | dict(
                    zip(("open", "high", "low", "close", "volume"), found.values[:5], strict=True)
                )
            )
            frames.append(
                frame.with_columns(
                    pl.lit(venue).alias("venue"),
                    pl.lit(item.symbol).alias("symbol"),
                    pl.col("open_time")
                    .cast(pl.Datetime("ms", "UTC"))
                    .cast(BARS.schema["open_time"]),
                )
            )
        columns = [*KEY, "open_time", "open", "high", "low", "close", "volume"]
        known = pl.concat(frames).with_columns(known_at=pl.col("open_time") + STEP)
        return known.select(columns).sort(KEY)

    return bars


@pytest.fixture(scope="session")
def ledger_database(postgres: str) -> str:
    """URL of one database for all tests of the ledger: making and dropping one takes seconds."""
    server = make_url(postgres).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE ledger_of_tests"))
    return server.set(database="ledger_of_tests").render_as_string(hide_password=False)


@pytest.fixture
def ledger_url(ledger_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty ledger; contexts on the test server find the same one."""
    monkeypatch.setattr(database, "DATABASES", ("ledger_of_tests",) * 4)
    engine = sa.create_engine(ledger_database, poolclass=sa.NullPool)
    with engine.begin() as connection:
        # Only a superuser can switch the append-only triggers off.
        connection.execute(sa.text("SET session_replication_role = replica"))
        tables = connection.scalars(
            sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).all()
        for table in tables:
            if table != "alembic_version":
                connection.execute(sa.text(f"DELETE FROM {table}"))
    return ledger_database
