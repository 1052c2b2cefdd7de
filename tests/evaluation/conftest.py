"""A small market made by hand: bars, the features strategies read, and a persistent opinion."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from evaluation.backtest import Setup, prepare
from serving.books import Inputs, Scores, place_scores
from serving.config import CostConfig, RiskConfig

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
SYMBOLS = ("ADA/USDT", "BTC/USDT", "ETH/USDT")


@dataclass(frozen=True)
class HandMade:
    """Frames of a market and the terms under which it is traded."""

    bars: pl.DataFrame
    features: pl.DataFrame
    scores: pl.DataFrame
    setup: Setup

    @property
    def terms(self) -> dict[str, Any]:
        return {**self.setup._asdict(), "timeframe": HOUR}

    def inputs(self) -> tuple[Inputs, Scores]:
        inputs = prepare(self.bars, self.features, timeframe=HOUR)
        return inputs, place_scores(inputs.panel, self.scores)


def make_market(closes: dict[str, np.ndarray], seed: int = 5, volume: float = 1e8) -> HandMade:
    """Bars of these closes, each opening at the close before, and scores that foresee a little."""
    rng = np.random.default_rng(seed)
    bars, features, scores = [], [], []
    for symbol, close in sorted(closes.items()):
        hours = close.size
        before = np.concatenate([close[:1], close[:-1]])
        key = pl.DataFrame(
            {
                "venue": "binance",
                "symbol": symbol,
                "known_at": pl.datetime_range(
                    START + HOUR, START + hours * HOUR, HOUR, time_unit="us", eager=True
                ),
            }
        )
        bars.append(
            key.with_columns(
                open=pl.Series(before),
                high=pl.Series(np.maximum(before, close) * 1.002),
                low=pl.Series(np.minimum(before, close) * 0.998),
                close=pl.Series(close),
                volume=pl.Series(volume / close),
            )
        )
        features.append(
            key.with_columns(
                realised_vol_72=pl.lit(0.006),
                atr_14=pl.lit(0.008),
                ema_gap_24_96=pl.Series(rng.normal(0.001, 0.01, hours)),
                btc_correlation_168=pl.lit(0.5),
                vol_ratio_24_168=pl.lit(0.0),
            )
        )
        ahead = np.log(close[np.minimum(np.arange(hours) + 24, hours - 1)] / close)
        opinion = pl.Series(0.3 * ahead + rng.normal(0, 0.01, hours)).ewm_mean(alpha=0.1)
        scores.append(key.with_columns(expected_return=opinion, horizon_bars=pl.lit(24, pl.Int64)))
    return HandMade(
        pl.concat(bars),
        pl.concat(features),
        pl.concat(scores),
        Setup(CostConfig(), RiskConfig(ramp_start=1.0), 100_000.0),
    )


@pytest.fixture(scope="session")
def hand_made() -> HandMade:
    """Three symbols over six hundred hours."""
    rng = np.random.default_rng(11)
    prices = zip(SYMBOLS, (0.5, 40_000.0, 2_500.0), strict=True)
    return make_market(
        {s: price * np.exp(np.cumsum(rng.standard_t(4, 600) * 0.006)) for s, price in prices}
    )
