"""Bars for the feature tests: a random market of any size, and the real one where it is present."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 3, 5, tzinfo=UTC)
MakeBars = Callable[..., pl.DataFrame]


def _one(symbol: str, number: int, n: int, start: datetime, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng([seed, number])
    market = np.random.default_rng(seed).standard_t(4, n) * 0.006
    change = 0.7 * market + rng.standard_t(4, n) * 0.005
    close = 100 * (number + 1) ** 3 * np.exp(np.cumsum(change))
    open_ = np.concatenate([[close[0]], close[:-1]]) * (1 + rng.normal(0, 1e-4, n))
    wick = np.abs(rng.normal(0, 0.003, (2, n)))
    volume = rng.lognormal(3, 0.6, n) * (1 + 40 * np.abs(change))
    taker = np.clip(rng.normal(0.5, 0.08, n) + 4 * change, 0.05, 0.95)
    known_at = pl.datetime_range(start + HOUR, start + n * HOUR, "1h", eager=True, time_unit="us")
    return pl.DataFrame(
        {
            "venue": ["binance"] * n,
            "symbol": [symbol] * n,
            "known_at": known_at,
            "open_time": known_at - HOUR,
            "open": open_,
            "high": np.maximum(open_, close) * (1 + wick[0]),
            "low": np.minimum(open_, close) * (1 - wick[1]),
            "close": close,
            "volume": volume,
            "quote_volume": volume * close,
            "trades": rng.integers(50, 5000, n),
            "taker_buy_volume": volume * taker,
        }
    )


def make_bars(
    n: int = 300,
    symbols: Sequence[str] = ("ADA/USDT", "BTC/USDT", "ETH/USDT"),
    *,
    start: datetime = START,
    seed: int = 7,
) -> pl.DataFrame:
    """Return `n` hourly bars a symbol, correlated and with fat tails."""
    return pl.concat([_one(s, i, n, start, seed) for i, s in enumerate(symbols)])


@pytest.fixture(scope="session", name="make_bars")
def _make_bars() -> MakeBars:
    return make_bars


@pytest.fixture
def bars_of_2018(market_folder: Path) -> pl.DataFrame:
    """Bitcoin and ether from January to March 2018, with the venue's 33 hours without a bar."""
    span = (datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 4, 1, tzinfo=UTC))
    return pl.concat(_real(market_folder, base, span) for base in ("BTC", "ETH"))


@pytest.fixture
def real_bars(market_folder: Path) -> pl.DataFrame:
    """Five real pairs, January to April 2021, gaps as they were; taker volume of two of them."""
    return pl.concat(_real(market_folder, base) for base in ("ADA", "BTC", "ETH", "LTC", "XRP"))


SPAN = (datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 5, 1, tzinfo=UTC))


def _real(folder: Path, base: str, span: tuple[datetime, datetime] = SPAN) -> pl.DataFrame:
    frame = pl.read_parquet(folder / "ohlcv_1h" / "binance_spot" / f"{base}USDT.parquet")
    known_at = pl.col("open_time").cast(pl.Datetime("us", "UTC")) + HOUR
    return frame.select(
        pl.lit("binance").alias("venue"),
        pl.lit(f"{base}/USDT").alias("symbol"),
        known_at.alias("known_at"),
        "open", "high", "low", "close", "volume", "quote_volume",
        pl.col("trades").cast(pl.Int64),
        pl.col("taker_buy_base").alias("taker_buy_volume"),
    ).filter(pl.col("known_at").is_between(*span))  # fmt: skip
