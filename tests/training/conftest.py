"""A small market with a signal in it, its features, and a training configuration to match."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.matrix import build_matrix
from training.config import TrainingConfig

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
NAMES = [
    "realised_vol_72",
    "atr_14",
    "ema_gap_24_96",
    "btc_correlation_168",
    "vol_ratio_24_168",
]


def small_market(days=40, symbols=("AAA/USDT", "BBB/USDT", "CCC/USDT"), seed=7):
    """Bars whose drift follows a slow wave, so that there is something to find."""
    rng = np.random.default_rng(seed)
    n = days * 24
    frames = []
    for place, symbol in enumerate(symbols):
        drift = 0.004 * np.sin(2 * np.pi * (np.arange(n) / 240 + place / 3))
        close = 100 * np.exp(np.cumsum(drift + rng.normal(0, 0.006, n)))
        opened = np.concatenate([[100.0], close[:-1]])
        wick = 1 + np.abs(rng.normal(0, 0.002, n))
        volume = rng.lognormal(10, 0.5, n)
        frames.append(
            pl.DataFrame(
                {
                    "venue": "binance",
                    "symbol": symbol,
                    "known_at": [START + (i + 1) * HOUR for i in range(n)],
                    "open_time": [START + i * HOUR for i in range(n)],
                    "open": opened,
                    "high": np.maximum(opened, close) * wick,
                    "low": np.minimum(opened, close) / wick,
                    "close": close,
                    "volume": volume,
                    "quote_volume": volume * close,
                    "trades": rng.integers(50, 500, n),
                    "taker_buy_volume": volume * 0.5,
                    "ingested_at": [START + (i + 1) * HOUR for i in range(n)],
                },
                schema_overrides={
                    name: pl.Datetime("us", "UTC")
                    for name in ("known_at", "open_time", "ingested_at")
                },
            )
        )
    return pl.concat(frames)


@pytest.fixture(scope="session")
def bars():
    return small_market()


@pytest.fixture(scope="session")
def features(bars):
    return build_matrix(bars, timeframe=HOUR, names=NAMES)


@pytest.fixture
def config():
    return TrainingConfig.model_validate(
        {
            "threads": 1,
            "sample_every_bars": 2,
            "model_params": {"rounds": 20},
            "label": {"horizon_bars": 12, "volatility_window": 24},
            "split": {
                "windows": 2,
                "test_days": 4,
                "train_days": 20,
                "inner_folds": 2,
                "embargo_bars": 6,
            },
            "search": {"trials": 3},
        }
    )
