"""What is asked of a result beyond its own figures: other histories, crashes, parameters, capitals."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from evaluation.backtest import BacktestResult
from evaluation.bootstrap import MonteCarlo, monte_carlo
from evaluation.capacity import capacity
from evaluation.metrics import bar_returns
from evaluation.records import equity_curve
from evaluation.sensitivity import cost_sensitivity, same_trades, sensitivity, sensitivity_grid
from evaluation.stress import NAMED_CRASHES, stress, worst_weeks
from pipelines.backtests.request import Extras, Run, plain, setup_of
from pipelines.backtests.span import Span
from serving.books import Inputs, Scores

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Examined:
    """The examinations of one run; None where one was not asked for.

    `not_examined` says why there is no Monte Carlo though it was asked for. `same_trades` is what its own fills would have earned under multiples of their costs, and
    `break_even` the multiple at which they earn nothing.
    """

    monte_carlo: MonteCarlo | None = None
    stress: pl.DataFrame | None = None
    sensitivity: pl.DataFrame | None = None
    grid: pl.DataFrame | None = None
    costs: pl.DataFrame | None = None
    same_trades: pl.DataFrame | None = None
    break_even: float = math.nan
    capacity: pl.DataFrame | None = None
    not_examined: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what was examined, as JSON types: frames as rows."""
        told: dict[str, Any] = {"not_examined": self.not_examined} if self.not_examined else {}
        if self.monte_carlo is not None:
            told["monte_carlo"] = {
                **plain(self.monte_carlo.summary),
                "fan": rows_of(self.monte_carlo.fan),
            }
        if self.sensitivity is not None and self.grid is not None:
            told["sensitivity"] = rows_of(self.sensitivity)
            told["sensitivity_grid"] = rows_of(self.grid)
        if self.costs is not None and self.same_trades is not None:
            told["cost_sensitivity"] = rows_of(self.costs)
            told["same_trades"] = rows_of(self.same_trades)
            told |= plain({"break_even_cost_multiple": self.break_even})
        for name in ("stress", "capacity"):
            if (frame := getattr(self, name)) is not None:
                told[name] = rows_of(frame)
        return told


def examine(
    extras: Extras, span: Span, inputs: Inputs, placed: Scores | None, run: Run, progress: Progress
) -> Examined:
    """Examine one explained run; `progress(done, total, text)` is told what goes on."""
    found: dict[str, Any] = {}
    asked: list[tuple[bool, str, Callable[[], dict[str, Any]]]] = [
        (extras.monte_carlo > 0, "other histories", lambda: _histories(extras, run)),
        (extras.stress, "crashes", lambda: _crashes(span, run)),
        (extras.sensitivity, "parameters and costs", lambda: _parameters(inputs, placed, run)),
        (extras.capacity, "capitals", lambda: _capitals(inputs, placed, run)),
    ]
    wanted = [(text, work) for is_asked, text, work in asked if is_asked]
    for done, (text, work) in enumerate(wanted):
        progress(done, len(wanted), f"{run.name}: {text}")
        found |= work()
    if wanted:
        progress(len(wanted), len(wanted), f"{run.name}: examined")
    return Examined(**found)


def rows_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows with null where a number is not finite."""
    return [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        for row in frame.iter_rows(named=True)
    ]


def _explained(run: Run) -> BacktestResult:
    if run.result is None:
        raise ValueError(f"{run.name} was not explained, and cannot be examined")
    return run.result


def _histories(extras: Extras, run: Run) -> dict[str, Any]:
    returns = bar_returns(equity_curve(_explained(run).walk, run.variant.initial_cash))
    # A record ends with its bankruptcy: what comes after is not a return.
    alive = returns[: int(np.argmax(np.isnan(returns)))] if np.isnan(returns).any() else returns
    try:
        return {"monte_carlo": monte_carlo(np.maximum(alive, -1.0), paths=extras.monte_carlo)}
    except ValueError as error:
        return {"not_examined": str(error)}


def _crashes(span: Span, run: Run) -> dict[str, Any]:
    known = span.instants()
    named = [w for w in NAMED_CRASHES if known[0] <= w.start and w.end <= known[-1]]
    worst = worst_weeks(span.bars, timeframe=span.timeframe, apart_from=named)
    terms = span.panel_terms()
    scored = run.trader.scored
    frame = stress(
        span.bars_with_history(),
        span.features,
        None if scored is None else scored.scores,
        [*named, *worst],
        strategy=run.trader.strategy,
        costs=run.variant.costs,
        risk=run.variant.risk,
        initial_cash=run.variant.initial_cash,
        **{key: terms[key] for key in ("timeframe", "symbols", "filters", "funding")},
    )
    return {"stress": frame}


def _parameters(inputs: Inputs, placed: Scores | None, run: Run) -> dict[str, Any]:
    setup, strategy = setup_of(run.variant), run.trader.strategy
    fills = _explained(run).fills
    total = _explained(run).metrics["total_return"]
    same, break_even = same_trades(fills, total, run.variant.initial_cash)
    return {
        "sensitivity": sensitivity(inputs, placed, setup, strategy=strategy),
        "grid": sensitivity_grid(inputs, placed, setup, strategy=strategy),
        "costs": cost_sensitivity(inputs, placed, setup, strategy=strategy),
        "same_trades": same,
        "break_even": break_even,
    }


def _capitals(inputs: Inputs, placed: Scores | None, run: Run) -> dict[str, Any]:
    frame = capacity(inputs, placed, setup_of(run.variant), strategy=run.trader.strategy)
    return {"capacity": frame}
