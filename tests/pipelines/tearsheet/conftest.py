"""A seeded track record with everything a sheet can show."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.breakdown import stress_regimes
from evaluation.metrics import drawdowns, summarise, trade_metrics
from evaluation.tearsheet import Sections, TearSheet, TrackRecord, tear_sheet

HOUR = timedelta(hours=1)
START = datetime(2022, 11, 20, tzinfo=UTC)
CASH = 100_000.0
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT:USDT")
INSTANT = pl.Datetime("us", "UTC")
STAGES = (
    ("bars", 36_000), ("scored", 30_100), ("asked for a change", 14_220), ("after long_only", 12_010),
    ("after drawdown_stop", 12_010), ("after holding_period", 11_960), ("after volatility_target", 11_950),
    ("after no_trade_band", 640), ("after position_cap", 610), ("after venue_filters", 600),
    ("ordered", 600), ("filled", 572), ("exits fired", 40), ("exits filled", 40),
)  # fmt: skip


def track_record(bars: int, seed: int, drift: float, trades: int) -> TrackRecord:
    """Return a record of random returns with `trades` random round trips."""
    rng = np.random.default_rng(seed)
    equity = CASH * np.cumprod(np.concatenate([[1.0], 1 + drift + 0.006 * rng.standard_t(4, bars)]))
    exposure = equity[1:] * np.clip(0.5 + 0.4 * np.sin(np.arange(bars) / 500), 0, 1)
    times = pl.Series([START + (i + 1) * HOUR for i in range(bars)], dtype=INSTANT)
    trips = _trades(rng, trades, bars)
    gains = trips["realised"].to_numpy()
    return TrackRecord(
        equity=pl.DataFrame(
            {
                "known_at": times,
                "equity": equity[1:],
                "cash": equity[1:] - exposure,
                "exposure": exposure,
                "drawdown": drawdowns(equity)[1:],
            }
        ),
        fills=_fills(rng, 2 * trades, bars),
        trades=trips,
        waterfall=pl.DataFrame(
            STAGES, schema={"stage": pl.String, "count": pl.Int64}, orient="row"
        ),
        metrics=summarise(
            equity, exposure, gains, traded=9e6, fees=9000.0, fills=2 * trades, bars_per_year=8760
        )
        | trade_metrics(trips),
        initial_cash=CASH,
        timeframe=HOUR,
    )


def _trades(rng: np.random.Generator, count: int, bars: int) -> pl.DataFrame:
    held = rng.integers(1, 200, count)
    entered = np.sort(rng.integers(0, max(1, bars - 200), count))
    outcome = rng.normal(0.004, 0.03, count)
    return pl.DataFrame(
        {
            "entered_at": pl.Series([START + int(i) * HOUR for i in entered], dtype=INSTANT),
            "exited_at": pl.Series([START + int(i) * HOUR for i in entered + held], dtype=INSTANT),
            "symbol": rng.choice(SYMBOLS, count).tolist(),
            "side": rng.choice(["long", "long", "short"], count).tolist(),
            "bars_held": held,
            "quantity": rng.uniform(0.1, 5, count),
            "entry_price": rng.uniform(20, 60_000, count),
            "exit_price": rng.uniform(20, 60_000, count),
            "invested": np.full(count, 15_000.0),
            "realised": 15_000.0 * outcome,
            "return": outcome,
            "fees": np.full(count, 30.0),
            "funding": rng.normal(0, 2, count),
            "mae": -np.abs(rng.normal(0, 0.02, count)),
            "mfe": np.abs(rng.normal(0, 0.03, count)),
            "r_multiple": outcome / 0.02,
            "edge": rng.uniform(0, 0.01, count),
            "exit_kind": rng.choice(["market", "stop_loss", "take_profit"], count).tolist(),
            "exit_cause": rng.choice(["signal", "holding_period", "drawdown_stop"], count).tolist(),
        }
    )


def _fills(rng: np.random.Generator, count: int, bars: int) -> pl.DataFrame:
    arrival = rng.uniform(20, 60_000, count)
    side = rng.choice(["buy", "sell"], count)
    spread, impact = np.full(count, 2.0), rng.uniform(0, 6, count)
    reference = arrival * (1 + rng.normal(0, 0.001, count))
    price = reference * (1 + np.where(side == "buy", 1, -1) * (spread + impact) / 1e4)
    quantity = 15_000 / price
    return pl.DataFrame(
        {
            "known_at": pl.Series(
                [START + int(i) * HOUR for i in np.sort(rng.integers(0, bars, count))],
                dtype=INSTANT,
            ),
            "symbol": rng.choice(SYMBOLS, count).tolist(),
            "kind": rng.choice(["market", "limit", "stop_loss"], count).tolist(),
            "side": side.tolist(),
            "quantity": quantity,
            "arrival_price": arrival,
            "reference_price": reference,
            "price": price,
            "notional": quantity * price,
            "fee": 15.0 + np.zeros(count),
            "spread_bps": spread,
            "impact_bps": impact,
            "slippage_bps": np.where(side == "buy", 1, -1) * (price / arrival - 1) * 1e4,
            "fee_bps": np.full(count, 10.0),
            "realised": np.zeros(count),
        }
    )


def all_sections(bars: int) -> Sections:
    """Return one of each optional section."""
    step = np.linspace(0, bars, 101).astype(np.int64)
    spread = 0.004 * np.sqrt(step)
    fan = {
        f"p{p:02d}": np.exp(0.00001 * step + z * spread)
        for p, z in ((5, -1.64), (25, -0.67), (50, 0.0), (75, 0.67), (95, 1.64))
    }
    week = [START + timedelta(days=d) for d in (10, 17)]
    outcome = {
        "total_return": [0.1, -0.2],
        "sharpe": [0.9, float("nan")],
        "max_drawdown": [-0.2, -0.3],
    }
    return Sections(
        monte_carlo=pl.DataFrame({"step": step, **fan}),
        monte_carlo_summary={
            "paths": 10_000.0, "return_p05": -0.31, "return_p50": 0.12, "drawdown_p05": -0.55,
            "mean_return": 0.2, "probability_of_loss": 0.37, "probability_of_drawdown_10": 0.9,
        },
        stress=pl.DataFrame(
            {
                "name": ["FTX 2022-11-06 to 12", "Worst week 1"],
                "start": pl.Series([week[0]] * 2, dtype=INSTANT),
                "end": pl.Series([week[1]] * 2, dtype=INSTANT),
                "return": [-0.031, 0.0],
                "max_drawdown": [-0.06, 0.0],
                "buy_and_hold": [-0.28, -0.35],
                "fills": [14, 0],
            }
        ),
        sensitivity=pl.DataFrame(
            {"parameter": ["risk.kelly_fraction"] * 2, "value": [0.2, 0.3], **outcome, "fills": [3, 0]}
        ),
        cost_sensitivity=pl.DataFrame({"multiple": [0.5, 2.0], **outcome, "fills": [3, 0]}),
        capacity=pl.DataFrame(
            {
                "capital": [1e4, 1e5, 1e6, 1e7],
                "annual_return": [0.21, 0.2, 0.12, -0.05],
                "sharpe": [1.1, 1.0, 0.6, -0.2],
                "impact_bps": [0.2, 0.6, 3.0, 11.0],
                "filled_share": [1.0, 1.0, 0.98, 0.7],
            }
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def build_sheet() -> Callable[..., TearSheet]:
    """Return a function that makes the sheet of a record of so many bars."""

    def build(
        bars: int = 12_000, trades: int = 300, *, plain: bool = False, stamp: str = ""
    ) -> TearSheet:
        record = track_record(bars, 5, 0.00004, trades)
        if plain:
            return tear_sheet(record, title="ema_crossover", stamp=stamp)
        ratio = np.repeat(0.5 * np.sin(np.arange(bars) / 90)[:, None], len(SYMBOLS), axis=1)
        return tear_sheet(
            replace(record, stress=stress_regimes(ratio, 0.4)),
            title="Model 7 (champion) on Binance",
            benchmark=track_record(bars, 9, 0.00007, 3),
            trials=40,
            trial_variance=0.6,
            stamp=stamp,
            sections=all_sections(bars),
        )

    return build
