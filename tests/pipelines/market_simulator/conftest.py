"""Real ccxt clients against the simulator, and a small folder of known bars to replay."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ccxt
import polars as pl
import pytest

from pipelines.market_simulator import Simulator, SyntheticMarket, running_simulator

NOW = datetime(2024, 6, 1, 14, 20, 5, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/USDT", "BTC/USDT:USDT", "BTC/KRW")


def _client(venue: str, base_url: str) -> Any:
    client = getattr(ccxt, venue)({"enableRateLimit": False, "timeout": 5000})
    if venue == "upbit":
        client.urls["api"] = dict.fromkeys(client.urls["api"], base_url)
        return client
    for host in ("api", "fapi", "dapi"):
        for key, url in client.urls["api"].items():
            client.urls["api"][key] = url.replace(f"https://{host}.binance.com", base_url)
    return client


@pytest.fixture
def connect() -> Iterator[Callable[[str, str], Any]]:
    """`connect(venue, base_url)` gives a ccxt client; sessions are closed afterwards."""
    clients: list[Any] = []

    def make(venue: str, base_url: str) -> Any:
        clients.append(_client(venue, base_url))
        return clients[-1]

    yield make
    for client in clients:
        client.session.close()


@pytest.fixture(scope="session")
def synthetic() -> SyntheticMarket:
    return SyntheticMarket(SYMBOLS, seed=7)


@pytest.fixture
def simulate(synthetic: SyntheticMarket) -> Callable[..., AbstractContextManager[Simulator]]:
    """`simulate(faults=[...])` serves the synthetic market, frozen at NOW."""

    def start(**options: Any) -> AbstractContextManager[Simulator]:
        return running_simulator(synthetic, **{"now": NOW, **options})

    return start


@pytest.fixture
def replay_folder(tmp_path: Path) -> Path:
    """Six hours of BTC with the third missing, a market that ends early, KRW, funding."""
    hours = [0, 1, 3, 4, 5]
    frame = pl.DataFrame(
        {
            "open_time": [datetime(2024, 1, 8, h, tzinfo=UTC) for h in hours],
            "open": [100.0, 101.0, 103.0, 104.0, 105.0],
            "high": [102.0, 103.5, 105.0, 106.0, 107.0],
            "low": [99.5, 100.0, 102.0, 103.0, 104.0],
            "close": [101.0, 102.0, 104.0, 105.0, 106.25],
            "volume": [10.0, 11.125, 13.0, 14.0, 15.0],
            "quote_volume": [1000.5, None, 1300.0, 1400.0, 1500.0],
            "trades": [7, None, 9, 10, 11],
            "taker_buy_base": [5.0, None, 6.0, 7.0, 8.0],
            "taker_buy_quote": [500.0, None, 600.0, 700.0, 800.0],
        }
    ).with_columns(pl.col("open_time").cast(pl.Datetime("ms", "UTC")))
    early = frame.with_columns(pl.col("open_time").dt.offset_by("-30d")).select(frame.columns[:6])
    funding = pl.DataFrame(
        {
            "funding_time": [datetime(2024, 1, 8, h, tzinfo=UTC) for h in (0, 4)],
            "funding_rate": [0.0001, -0.00025],
        }
    )
    for path, content in {
        "ohlcv_1h/binance_spot/BTCUSDT": frame,
        "ohlcv_1h/binance_spot/OLDUSDT": early,
        "ohlcv_1h/binance_perp/BTCUSDT": frame.select(frame.columns[:6]),
        "ohlcv_1h/upbit_spot/KRW-BTC": frame.select(frame.columns[:6]),
        "funding/binance_perp/BTCUSDT": funding,
    }.items():
        file = tmp_path / "replay" / f"{path}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        content.write_parquet(file)
    return tmp_path / "replay"
