"""A strategy over a span of the past, through the engine that trades the paper books.

`backtest` takes frames and explains itself; `prepare` and `evaluate` are for searches: the arrays
are built once, and one evaluation of 57,600 bar-symbols costs a few milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.metrics import amounts, bar_returns, sharpe, summarise
from serving.books import Inputs, Scores, Walk, build_inputs, place_scores, walk_book
from serving.compiled import Counts, Floats
from serving.config import CostConfig, RiskConfig
from serving.limits import bars_per_year
from serving.market import Filters, check_capital
from serving.risk.names import RULES, reason_of
from serving.state import FEES, SCALE, TRADED, new_state, to_counts
from serving.tape import (
    CURVE_CASH,
    CURVE_EQUITY,
    CURVE_EXPOSURE,
    CUTS,
    FILLS,
    FIRST_RULE_STAGE,
    FUNDING_PAYMENT,
    KINDS,
    ORDERS,
    STAGE_ASKED,
    STAGE_BARS,
    STAGE_SCORED,
)


@dataclass(frozen=True)
class BacktestResult:
    """What happened, and why.

    Attributes
    ----------
    equity : polars.DataFrame
        known_at, equity, cash, exposure [quote], drawdown [fraction, at most 0].
    orders : polars.DataFrame
        known_at (the close at which it was decided; a stop: the bar in which it fired), symbol, kind,
        side, quantity [base], reference_price, stop_distance [quote], target_weight.
    fills : polars.DataFrame
        known_at (of the bar in which it filled), symbol, kind, side, quantity, reference_price, price,
        notional, fee, realised [quote]; a funding payment has side "funding" and its amount in notional.
    risk_events : polars.DataFrame
        known_at, symbol, rule, asked, allowed [weight], reason.
    waterfall : polars.DataFrame
        stage, count: how many bar-symbols had a bar, were scored, asked for a change, still asked
        after each rule, were ordered, and filled.
    metrics : dict
        See `evaluation.metrics.summarise`.
    walk : Walk
        The exact counts behind the frames.
    """

    equity: pl.DataFrame
    orders: pl.DataFrame
    fills: pl.DataFrame
    risk_events: pl.DataFrame
    waterfall: pl.DataFrame
    metrics: dict[str, float]
    walk: Walk = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """The result of one evaluation in a search."""

    net_return: float
    sharpe: float
    fees: float
    traded: float
    equity: Floats


def backtest(
    bars: pl.DataFrame,
    features: pl.DataFrame,
    scores: pl.DataFrame | None,
    *,
    costs: CostConfig,
    risk: RiskConfig,
    initial_cash: float,
    timeframe: timedelta,
    strategy: str = "model",
    symbols: Sequence[str] | None = None,
    first: datetime | None = None,
    last: datetime | None = None,
    filters: Mapping[str, Filters] | None = None,
) -> BacktestResult:
    """Trade `strategy` over `bars` and explain what it did.

    Parameters
    ----------
    bars, features, scores : polars.DataFrame
        In the contracts of those tables; `scores` of one model version, or None for a baseline.
    costs, risk, initial_cash
        As the books are configured; cash in quote.
    timeframe : timedelta
    strategy : {"model", "buy_and_hold", "ema_crossover"}
    symbols, first, last, filters
        As in `serving.market.build_panel`.

    Raises
    ------
    ValueError
        If the input is refused at the door of `build_panel`, `place_scores` or `check_capital`.
    """
    inputs = build_inputs(
        bars,
        features,
        timeframe=timeframe,
        symbols=symbols,
        first=first,
        last=last,
        filters=filters,
    )
    check_capital(inputs.panel, initial_cash)
    placed = None if scores is None else place_scores(inputs.panel, scores)
    state = new_state(len(inputs.panel.symbols), initial_cash)
    walk = walk_book(strategy, inputs, placed, state, costs=costs, risk=risk)
    return explain(walk, initial_cash)


def prepare(bars: pl.DataFrame, features: pl.DataFrame, *, timeframe: timedelta) -> Inputs:
    """Return the arrays that all evaluations of one span share; errors as in `backtest`.

    `inputs.panel.locate(frame)` gives (row, bar, symbol) of the rows of any keyed frame, once; each
    trial then writes its predictions with `expected_return[bar, symbol] = prediction[row]`.
    """
    return build_inputs(bars, features, timeframe=timeframe)


def evaluate(
    inputs: Inputs,
    expected_return: Floats,
    horizon_bars: int,
    *,
    costs: CostConfig,
    risk: RiskConfig,
    initial_cash: float,
) -> Outcome:
    """Trade one model's expectation without writing anything down.

    Parameters
    ----------
    inputs : Inputs
        From `prepare`.
    expected_return : float64 (bars, n)
        Expected log return over `horizon_bars`; NaN where not scored.
    """
    state = new_state(len(inputs.panel.symbols), initial_cash)
    walk = walk_book(
        "model",
        inputs,
        Scores(expected_return, horizon_bars),
        state,
        costs=costs,
        risk=risk,
        recording=False,
    )
    equity = equity_curve(walk, initial_cash)
    returns = np.nan_to_num(bar_returns(equity))
    return Outcome(
        net_return=float(equity[-1] / equity[0] - 1.0),
        sharpe=sharpe(returns, bars_per_year(inputs.panel.timeframe)),
        fees=float(state.money[FEES] / SCALE),
        traded=float(state.money[TRADED] / SCALE),
        equity=equity,
    )


def equity_curve(walk: Walk, initial_cash: float) -> Floats:
    """Return the equity with the initial capital in front, float64 (bars + 1,)."""
    return np.concatenate(
        [[to_counts(initial_cash) / SCALE], amounts(walk.tape.curve[:, CURVE_EQUITY])]
    )


def explain(walk: Walk, initial_cash: float) -> BacktestResult:
    """Turn a recorded walk into frames and metrics."""
    tape, state = walk.tape, walk.state
    fills = fills_frame(walk)
    equity = equity_curve(walk, initial_cash)
    sales = fills.filter(pl.col("side") == "sell").get_column("realised").to_numpy()
    metrics = summarise(
        equity,
        amounts(tape.curve[:, CURVE_EXPOSURE]),
        sales,
        traded=float(state.money[TRADED] / SCALE),
        fees=float(state.money[FEES] / SCALE),
        fills=fills.height,
        bars_per_year=bars_per_year(walk.panel.timeframe),
    )
    return BacktestResult(
        equity=_equity_frame(walk, equity),
        orders=orders_frame(walk),
        fills=fills,
        risk_events=risk_events_frame(walk),
        waterfall=waterfall_frame(walk),
        metrics=metrics,
        walk=walk,
    )


def orders_frame(walk: Walk) -> pl.DataFrame:
    """Return the orders of a recorded walk; see `BacktestResult.orders`."""
    rows = walk.tape.orders[: walk.tape.used[ORDERS]]
    return _keyed(walk, rows).with_columns(
        _names(rows["kind"], KINDS, "kind"),
        _sides(rows["quantity"]),
        pl.Series("quantity", amounts(np.abs(rows["quantity"]))),
        pl.Series("reference_price", rows["reference"]),
        pl.Series("stop_distance", rows["stop_distance"]),
        pl.Series("target_weight", rows["weight"]),
    )


def fills_frame(walk: Walk) -> pl.DataFrame:
    """Return the fills of a recorded walk; see `BacktestResult.fills`."""
    rows = walk.tape.fills[: walk.tape.used[FILLS]]
    funding = pl.Series(rows["kind"] == FUNDING_PAYMENT)
    return (
        _keyed(walk, rows)
        .with_columns(
            _names(rows["kind"], KINDS, "kind"),
            _sides(rows["quantity"]),
            pl.Series("quantity", amounts(np.abs(rows["quantity"]))),
            pl.Series("reference_price", rows["reference"]),
            pl.Series("price", rows["price"]),
            pl.Series("notional", amounts(rows["notional"])),
            pl.Series("fee", amounts(rows["fee"])),
            pl.Series("realised", amounts(rows["realised"])),
        )
        .with_columns(pl.when(funding).then(pl.lit("funding")).otherwise("side").alias("side"))
    )


def risk_events_frame(walk: Walk) -> pl.DataFrame:
    """Return the cuts of a recorded walk; see `BacktestResult.risk_events`."""
    rows = walk.tape.cuts[: walk.tape.used[CUTS]]
    reasons = tuple(reason_of(rule, walk.limits) for rule in range(len(RULES)))
    return _keyed(walk, rows).with_columns(
        _names(rows["rule"], RULES, "rule"),
        pl.Series("asked", rows["asked"]),
        pl.Series("allowed", rows["allowed"]),
        _names(rows["rule"], reasons, "reason"),
    )


def waterfall_frame(walk: Walk) -> pl.DataFrame:
    """Return how many bar-symbols were left after each stage; see `BacktestResult.waterfall`."""
    tape = walk.tape
    stages = [
        ("bars", tape.stages[STAGE_BARS]),
        ("scored", tape.stages[STAGE_SCORED]),
        ("asked for a change", tape.stages[STAGE_ASKED]),
    ]
    if walk.limits.rules_apply:
        stages += [
            (f"after {rule}", tape.stages[FIRST_RULE_STAGE + i])
            for i, rule in enumerate(RULES[:-1])
        ]
    orders = tape.orders[: tape.used[ORDERS]]
    fills = tape.fills[: tape.used[FILLS]]
    stages += [
        ("ordered", np.count_nonzero(orders["kind"] == KINDS.index("market"))),
        ("filled", np.count_nonzero(fills["kind"] == KINDS.index("market"))),
        ("stops hit", np.count_nonzero(orders["kind"] == KINDS.index("stop"))),
        ("stops filled", np.count_nonzero(fills["kind"] == KINDS.index("stop"))),
    ]
    return pl.DataFrame(
        {"stage": [s for s, _ in stages], "count": [int(c) for _, c in stages]},
        schema={"stage": pl.String, "count": pl.Int64},
    )


def _equity_frame(walk: Walk, equity: Floats) -> pl.DataFrame:
    curve = walk.tape.curve
    return pl.DataFrame(
        {
            "known_at": walk.panel.instants(),
            "equity": equity[1:],
            "cash": amounts(curve[:, CURVE_CASH]),
            "exposure": amounts(curve[:, CURVE_EXPOSURE]),
            "drawdown": (equity / np.maximum.accumulate(equity) - 1.0)[1:],
        }
    )


def _keyed(walk: Walk, rows: NDArray[np.void]) -> pl.DataFrame:
    instants = walk.panel.instants()
    return pl.DataFrame(
        {
            "known_at": instants.gather(rows["bar"]),
            "symbol": _names(rows["symbol"], walk.panel.symbols, "symbol"),
        }
    )


def _names(index: Counts, names: Sequence[str], column: str) -> pl.Series:
    return pl.Series(column, list(names), dtype=pl.String).gather(index)


def _sides(quantity: Counts) -> pl.Series:
    return _names((quantity < 0).astype(np.int64), ("buy", "sell"), "side")
