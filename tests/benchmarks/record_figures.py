"""A strategy through the engine, and its figures with 90 % intervals, as lines of JSON."""

import json
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.backtest import BacktestResult, Setup, backtest_all, prepare
from evaluation.breakdown import by_regime, trend_regimes
from evaluation.intervals import accuracy_interval, bootstrap_interval, sharpe_interval
from evaluation.metrics import bar_returns
from serving.books import Inputs, Scores
from serving.config import CostConfig, RiskConfig

Floats = npt.NDArray[np.float64]

HOUR, YEAR = timedelta(hours=1), 8_760.0
CASH = 100_000.0
MODEL_RISK = RiskConfig(ramp_start=1.0)


def span_inputs(bars: pl.DataFrame, table: pl.DataFrame, start: datetime) -> Inputs:
    """Return the engine's arrays of the bars after `start`."""
    later = pl.col("known_at") > start
    return prepare(bars.filter(later), table.filter(later), timeframe=HOUR)


def placed(inputs: Inputs, frame: pl.DataFrame, column: str) -> Floats:
    """Return a column of a keyed frame on the engine's grid, shape (bars, symbols); NaN elsewhere."""
    values = np.full((inputs.panel.bars, len(inputs.panel.symbols)), np.nan)
    row, bar, symbol = inputs.panel.locate(frame)
    values[bar, symbol] = frame.get_column(column).to_numpy()[row]
    return values


def traded(
    inputs: Inputs, scores: Scores | None, risk: RiskConfig, strategy: str = "model"
) -> BacktestResult:
    """Return the engine's result at default costs."""
    setup = Setup(CostConfig(), risk, CASH)
    return next(backtest_all(inputs, scores, [setup], strategy=strategy, threads=1))


def show_regimes(result: BacktestResult, inputs: Inputs) -> None:
    """Print what was earned after thirty days up and after thirty days down of holding all pairs."""
    held = traded(inputs, None, MODEL_RISK, "buy_and_hold").equity.get_column("equity").to_numpy()
    benchmark = np.concatenate([[CASH], held])
    regimes = by_regime(returns_of(result), trend_regimes(benchmark, 720), YEAR)
    for row in regimes.select("regime", "share", "total_return", "sharpe").rows(named=True):
        show(f"  in a {row.pop('regime')} market", row)


def returns_of(result: BacktestResult) -> Floats:
    """Return the simple return of each bar."""
    equity = result.equity.get_column("equity").to_numpy()
    returns: Floats = np.nan_to_num(bar_returns(np.concatenate([[CASH], equity])))
    return returns


def figures(result: BacktestResult, outcome: pl.DataFrame | None) -> dict[str, Any]:
    """Return the figures of a record with their 90 % intervals, and each year's return.

    Parameters
    ----------
    result : BacktestResult
    outcome : polars.DataFrame, optional
        symbol, known_at, realised: what followed each close; gives `hits`, the share of entries whose
        direction was right.
    """
    returns, trades = returns_of(result), result.trades
    found: dict[str, Any] = {
        name: result.metrics[name]
        for name in ("total_return", "max_drawdown", "trades", "exposure", "turnover", "fees")
    }
    if np.ptp(returns) > 0:
        found["sharpe"] = bounds_of(sharpe_interval(returns, YEAR, shortest_block=48.0))
    gains = trades.get_column("realised").to_numpy()
    if gains.size >= 8:
        wins, losses = np.maximum(gains, 0.0), np.maximum(-gains, 0.0)
        sums = np.column_stack([gains > 0, wins, losses]).astype(np.float64)
        how: dict[str, Any] = {"driver": gains, "shortest_block": 10.0}
        found["win_rate"] = bounds_of(bootstrap_interval(sums, lambda m: m[..., 0], **how))
        found["profit_factor"] = bounds_of(
            bootstrap_interval(sums, lambda m: m[..., 1] / m[..., 2], **how)
        )
    if outcome is not None and gains.size >= 8:
        found["entry_hits"] = bounds_of(entry_hits(trades, outcome))
    year = (result.equity.get_column("known_at") - HOUR).dt.year().to_numpy()
    found["years"] = {
        int(one): round(float(np.prod(1.0 + returns[year == one]) - 1.0), 3)
        for one in np.unique(year)
    }
    return found


def entry_hits(trades: pl.DataFrame, outcome: pl.DataFrame) -> Any:
    """Return the interval of the share of entries after which the price went the right way."""
    known = (
        trades.select("symbol", "side", known_at=pl.col("entered_at") - HOUR)
        .join(
            outcome.select("symbol", "known_at", after="realised"),
            on=["symbol", "known_at"],
            how="inner",
        )
        .drop_nulls("after")
        .sort("known_at")
    )
    at = known.get_column("known_at").dt.timestamp("us").to_numpy()
    right = ((known["after"] > 0) == (known["side"] == "long")).to_numpy()
    return accuracy_interval(at, right, shortest_block=10.0)


def bounds_of(interval: Any) -> tuple[float, float, float]:
    """Return value, lower and upper bound."""
    return tuple(round(x, 3) for x in (interval.value, interval.lower, interval.upper))


def show(name: str, found: dict[str, Any]) -> None:
    """Print one line of JSON."""
    plain = {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}
    print(json.dumps({"name": name, **plain}), flush=True)
