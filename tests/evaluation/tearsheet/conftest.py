"""A record of four hours that can be reckoned by hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.metrics import drawdowns, summarise, trade_metrics
from evaluation.tearsheet import TrackRecord

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 31, 21, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")
STAGES = ("bars", "scored", "asked for a change", "after cooldown", "ordered", "filled")


def trades(gains: list[float]) -> pl.DataFrame:
    count = len(gains)
    return pl.DataFrame(
        {
            "entered_at": pl.Series([START] * count, dtype=INSTANT),
            "exited_at": pl.Series([START + HOUR] * count, dtype=INSTANT),
            "symbol": pl.Series(["BTC/USDT"] * count, dtype=pl.String),
            "side": pl.Series(["long"] * count, dtype=pl.String),
            "bars_held": pl.Series([2] * count, dtype=pl.Int64),
            "quantity": pl.Series([1.0] * count, dtype=pl.Float64),
            "entry_price": pl.Series([100.0] * count, dtype=pl.Float64),
            "exit_price": pl.Series([100.0 + g for g in gains], dtype=pl.Float64),
            "invested": pl.Series([100.0] * count, dtype=pl.Float64),
            "realised": pl.Series(gains, dtype=pl.Float64),
            "return": pl.Series([g / 100.0 for g in gains], dtype=pl.Float64),
            "fees": pl.Series([0.1] * count, dtype=pl.Float64),
            "funding": pl.Series([0.0] * count, dtype=pl.Float64),
            "mae": pl.Series([-0.01] * count, dtype=pl.Float64),
            "mfe": pl.Series([0.01] * count, dtype=pl.Float64),
            "r_multiple": pl.Series([g / 5.0 for g in gains], dtype=pl.Float64),
            "edge": pl.Series([0.01] * count, dtype=pl.Float64),
            "exit_kind": pl.Series(["market"] * count, dtype=pl.String),
            "exit_cause": pl.Series(["signal"] * count, dtype=pl.String),
        }
    )


def fills() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": ["BTC/USDT"],
            "kind": ["market"],
            "side": ["buy"],
            "quantity": [1.0],
            "reference_price": [100.0],
            "notional": [100.0],
            "fee": [0.1],
            "spread_bps": [2.0],
            "impact_bps": [1.0],
            "slippage_bps": [4.0],
            "fee_bps": [10.0],
        }
    )


@pytest.fixture
def build_record() -> Callable[..., TrackRecord]:
    """Return a function that makes a record of an equity curve, which starts with the capital."""

    def build(values: list[float], gains: list[float] | None = None) -> TrackRecord:
        equity = np.array(values)
        realised = trades([10.0, -5.0] if gains is None else gains)
        return TrackRecord(
            equity=pl.DataFrame(
                {
                    "known_at": pl.Series(
                        [START + HOUR * (i + 1) for i in range(len(values) - 1)], dtype=INSTANT
                    ),
                    "equity": equity[1:],
                    "cash": equity[1:] / 2,
                    "exposure": equity[1:] / 2,
                    "drawdown": drawdowns(equity)[1:],
                }
            ),
            fills=fills(),
            trades=realised,
            waterfall=pl.DataFrame({"stage": STAGES, "count": [4, 4, 2, 1, 1, 1]}),
            metrics=summarise(
                equity,
                equity[1:] / 2,
                realised["realised"].to_numpy(),
                traded=100.0,
                fees=0.1,
                fills=1,
                bars_per_year=8760.0,
            )
            | trade_metrics(realised),
            initial_cash=float(values[0]),
            timeframe=HOUR,
        )

    return build
