"""The series of a tear sheet: the curve bar by bar, thinned for a page, and the days' returns."""

import math
from datetime import timedelta

import numpy as np
import polars as pl

from evaluation.metrics import bar_returns
from evaluation.tearsheet.record import TrackRecord
from serving.compiled import Floats
from serving.limits import bars_per_year

ROLLING_DAYS = 30
_BINS = 41
_POINTS = 300


def build_curve(record: TrackRecord, benchmark: TrackRecord | None) -> pl.DataFrame:
    """Return the curve of `TearSheet.curve`, one row a bar; null columns without a benchmark."""
    window = timedelta(days=ROLLING_DAYS) // record.timeframe
    held = record.equity.select(
        "known_at",
        "equity",
        "drawdown",
        (pl.col("exposure") / pl.col("equity")).alias("exposure"),
    )
    returns = pl.Series(bar_returns(record.curve))
    spread = returns.rolling_std(window)
    rolling = returns.rolling_mean(window) / spread * math.sqrt(bars_per_year(record.timeframe))
    other = pl.lit(None, pl.Float64) if benchmark is None else benchmark.equity["equity"]
    fall = pl.lit(None, pl.Float64) if benchmark is None else benchmark.equity["drawdown"]
    return held.with_columns(
        pl.when(spread > 1e-12).then(rolling).alias("rolling_sharpe"),
        other.alias("buy_and_hold"),
        fall.alias("buy_and_hold_drawdown"),
    )


def build_distribution(record: TrackRecord, benchmark: TrackRecord | None) -> pl.DataFrame:
    """Return how many days had which return, in equal bins around zero that hold both records."""
    own = _daily(record)
    other = np.array([]) if benchmark is None else _daily(benchmark)
    reach = float(np.max(np.abs(np.concatenate([own, other])), initial=0.0)) or 0.01
    edges = np.linspace(-reach, reach, _BINS + 1)
    return pl.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "days": np.histogram(own, edges)[0],
            "buy_and_hold_days": np.histogram(other, edges)[0],
        }
    )


def _daily(record: TrackRecord) -> Floats:
    """Return the finite returns of each UTC day; the bar known at midnight closes the old day."""
    day = (pl.col("known_at") - pl.duration(microseconds=1)).dt.date()
    ends = record.equity.group_by(day, maintain_order=True).agg(pl.col("equity").last())["equity"]
    returns = bar_returns(np.concatenate([[record.initial_cash], ends.to_numpy()]))
    finite: Floats = returns[np.isfinite(returns)]
    return finite


def thinned(curve: pl.DataFrame, points: int = _POINTS) -> pl.DataFrame:
    """Return at most 4 `points` + 2 bars of a curve that keep its look.

    The bars are cut into `points` stretches; of each stay its highest and lowest equity and the deepest
    drawdown of both records, and the two ends of all, so that no fall is thinned away.
    """
    size = -(-curve.height // points)
    if size <= 4:
        return curve
    row = pl.col("row")
    kept = (
        curve.with_row_index("row")
        .group_by(row // size)
        .agg(
            row.get(pl.col("equity").arg_max()).alias("high"),
            row.get(pl.col("equity").arg_min()).alias("low"),
            row.get(pl.col("drawdown").arg_min()).alias("deep"),
            row.get(pl.col("buy_and_hold_drawdown").arg_min()).alias("deep of the other"),
        )
    )
    rows = {0, curve.height - 1}.union(
        *(kept[name].drop_nulls().to_list() for name in kept.columns[1:])
    )
    return curve[sorted(rows)]
