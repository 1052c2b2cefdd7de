"""A random market in the bars contract, with order flow, for steps that need a long history."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.tables import BARS


def _one(
    symbol: str, number: int, *, start: datetime, hours: int, venue: str, seed: int
) -> pl.DataFrame:
    rng = np.random.default_rng([seed, number])
    close = 100 * np.exp(rng.normal(0, 0.01, hours).cumsum())
    before = np.concatenate([[100.0], close[:-1]])
    volume = rng.lognormal(3, 0.5, hours)
    wick = 1 + np.abs(rng.normal(0, 0.003, (2, hours)))
    opened = pl.datetime_range(
        start, start + timedelta(hours=hours), "1h", closed="left", eager=True, time_unit="us"
    )
    return pl.DataFrame(
        {
            "venue": [venue] * hours,
            "symbol": [symbol] * hours,
            "known_at": opened + timedelta(hours=1),
            "open_time": opened,
            "open": before,
            "high": np.maximum(before, close) * wick[0],
            "low": np.minimum(before, close) / wick[1],
            "close": close,
            "volume": volume,
            "quote_volume": volume * close,
            "trades": rng.integers(10, 900, hours),
            "taker_buy_volume": volume * rng.uniform(0.2, 0.8, hours),
            "ingested_at": [start] * hours,
        },
        schema=BARS.schema,
    )


@pytest.fixture(scope="session")
def random_bars() -> Callable[..., pl.DataFrame]:
    """`random_bars(symbols, start=, hours=)`: a random walk a symbol."""

    def make(
        symbols: Sequence[str],
        *,
        start: datetime,
        hours: int,
        venue: str = "binance",
        seed: int = 5,
    ) -> pl.DataFrame:
        return pl.concat(
            _one(symbol, number, start=start, hours=hours, venue=venue, seed=seed)
            for number, symbol in enumerate(symbols)
        )

    return make
