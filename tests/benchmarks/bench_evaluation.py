"""How fast results are examined: a Monte Carlo, a sweep of a thousand configurations, a capacity curve.

Prints; asserts nothing. The market is ten random walks over a year of hours.
"""

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from evaluation.backtest import Setup, evaluate_all
from evaluation.bootstrap import monte_carlo
from evaluation.capacity import capacity
from serving.books import Inputs, Scores, build_inputs
from serving.config import CostConfig, RiskConfig

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
BARS, SYMBOLS, CONFIGS, PATHS = 8_760, 10, 1_000, 10_000


def timed(name: str, call: Callable[[], object]) -> None:
    """Print how long a call takes."""
    began = time.perf_counter()
    call()
    print(f"{name:<58} {time.perf_counter() - began:8.2f} s")


def year() -> tuple[Inputs, Scores]:
    """Return the inputs of a year of ten walks, and an opinion that follows the last day."""
    bars, features = [], []
    for number in range(SYMBOLS):
        rng = np.random.default_rng(number)
        moves = rng.normal(0, 0.007, BARS)
        close = 100 * np.exp(moves.cumsum())
        before = np.concatenate([[100.0], close[:-1]])
        key = pl.DataFrame(
            {
                "symbol": f"S{number}/USDT",
                "known_at": pl.datetime_range(
                    START + HOUR, START + BARS * HOUR, HOUR, time_unit="us", eager=True
                ),
            }
        )
        bars.append(
            key.with_columns(
                open=pl.Series(before),
                high=pl.Series(np.maximum(before, close) * 1.003),
                low=pl.Series(np.minimum(before, close) * 0.997),
                close=pl.Series(close),
                volume=pl.lit(1e6),
            )
        )
        features.append(
            key.with_columns(
                realised_vol_72=pl.Series(moves).rolling_std(72),
                atr_14=pl.lit(0.009),
                ema_gap_24_96=pl.Series(moves).rolling_mean(48) * 24 + rng.normal(0, 0.004, BARS),
                btc_correlation_168=pl.lit(0.4),
                vol_ratio_24_168=pl.lit(0.0),
            )
        )
    inputs = build_inputs(pl.concat(bars), pl.concat(features), timeframe=HOUR)
    return inputs, Scores(inputs.ema_gap, 24)


def configurations() -> list[Setup]:
    """Return a thousand setups: ten values each of three keys."""
    risks = itertools.product(
        np.linspace(0.05, 0.5, 10), np.linspace(0.1, 0.6, 10), np.linspace(0.5, 3.0, 10)
    )
    return [
        Setup(
            CostConfig(),
            RiskConfig(kelly_fraction=kelly, volatility_target=target, no_trade_band=band),
            100_000.0,
        )
        for kelly, target, band in risks
    ]


def main() -> None:
    """Print one line a measurement."""
    returns = np.random.default_rng(0).standard_t(4, BARS) * 0.004
    monte_carlo(returns, paths=10)
    for block in (None, 1.0, 24.0):
        name = "of its own" if block is None else f"of {block:g} bars"
        timed(
            f"Monte Carlo, {PATHS:,} x {BARS:,}, blocks {name}",
            lambda block=block: monte_carlo(returns, paths=PATHS, block_bars=block),  # type: ignore[misc]
        )
    inputs, scores = year()
    setups = configurations()
    timed(
        "first walk (compiles where nothing is cached)",
        lambda: list(evaluate_all(inputs, scores, setups[:1])),
    )
    for threads in (1, 2):
        timed(
            f"{CONFIGS:,} configurations x {BARS:,} bars x {SYMBOLS}, {threads} thread(s)",
            lambda threads=threads: list(evaluate_all(inputs, scores, setups, threads=threads)),  # type: ignore[misc]
        )
    timed("capacity curve, 7 capitals", lambda: capacity(inputs, scores, setups[0]))


if __name__ == "__main__":
    main()
