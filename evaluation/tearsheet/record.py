"""What a sheet is made from: the frames of a track record, and what others measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl

from evaluation.breakdown import stress_regimes
from serving.compiled import Floats

if TYPE_CHECKING:
    from evaluation.backtest import BacktestResult


@dataclass(frozen=True)
class TrackRecord:
    """What a strategy did, in the frames of `evaluation.backtest.BacktestResult`.

    Attributes
    ----------
    equity, fills, trades, waterfall : polars.DataFrame
    metrics : mapping
        See `evaluation.metrics.summarise` and `trade_metrics`.
    initial_cash : float
        Quote, before the first bar.
    timeframe : timedelta
    stress : polars.Series of String (T,), optional
        Regime of each bar, known before it; see `evaluation.breakdown.stress_regimes`.
    """

    equity: pl.DataFrame
    fills: pl.DataFrame
    trades: pl.DataFrame
    waterfall: pl.DataFrame
    metrics: Mapping[str, float]
    initial_cash: float
    timeframe: timedelta
    stress: pl.Series | None = None

    @classmethod
    def of(cls, result: "BacktestResult", initial_cash: float) -> Self:
        """Return the record of a backtest that began with `initial_cash`."""
        return cls(
            equity=result.equity,
            fills=result.fills,
            trades=result.trades,
            waterfall=result.waterfall,
            metrics=result.metrics,
            initial_cash=initial_cash,
            timeframe=result.walk.panel.timeframe,
            stress=stress_regimes(result.walk.signals.stress, result.walk.limits.storm_stress),
        )

    @property
    def curve(self) -> Floats:
        """Equity with the initial cash in front, (T + 1,)."""
        return np.concatenate([[self.initial_cash], self.equity["equity"].to_numpy()])


@dataclass(frozen=True)
class Sections:
    """What others measured of the same record; a page leaves out what is None.

    Attributes
    ----------
    monte_carlo : polars.DataFrame, optional
        step [bars], p05, p25, p50, p75, p95: percentiles over resampled paths of the equity, as a
        multiple of the capital; `evaluation.bootstrap.MonteCarlo.fan`.
    monte_carlo_summary : mapping
        `evaluation.bootstrap.MonteCarlo.summary`.
    stress : polars.DataFrame, optional
        name, start, end, return, max_drawdown, buy_and_hold [fractions], fills.
    sensitivity : polars.DataFrame, optional
        parameter, value, total_return, sharpe, max_drawdown, fills.
    cost_sensitivity : polars.DataFrame, optional
        multiple [of all costs], total_return, sharpe, max_drawdown, fills.
    capacity : polars.DataFrame, optional
        capital [quote], annual_return, sharpe, impact_bps, filled_share.
    """

    monte_carlo: pl.DataFrame | None = None
    monte_carlo_summary: Mapping[str, float] = field(default_factory=dict)
    stress: pl.DataFrame | None = None
    sensitivity: pl.DataFrame | None = None
    cost_sensitivity: pl.DataFrame | None = None
    capacity: pl.DataFrame | None = None
