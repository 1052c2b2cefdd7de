"""A strategy over a span of the past, through the engine that trades the paper books.

`backtest` takes frames and explains itself; `prepare` and `evaluate` are for searches: the arrays
are built once, and one evaluation of 57,600 bar-symbols costs a few milliseconds. `backtest_all` and
`evaluate_all` do either under many setups, in threads: the engine holds no lock.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl

from evaluation.metrics import (
    amounts,
    bar_returns,
    max_drawdown,
    sharpe,
    summarise,
    trade_metrics,
)
from evaluation.records import (
    equity_curve,
    equity_frame,
    fills_frame,
    orders_frame,
    risk_events_frame,
    trades_frame,
    waterfall_frame,
)
from serving.allocation import history_bars_of
from serving.books import Inputs, Scores, Walk, build_inputs, place_scores, walk_book
from serving.compiled import Floats
from serving.config import CostConfig, RiskConfig
from serving.controls import Controls
from serving.limits import bars_per_year
from serving.market import Filters, check_capital
from serving.state import FEES, SCALE, TRADED, new_state
from serving.tape import CURVE_EXPOSURE, FILLS, FUNDING_PAYMENT


@dataclass(frozen=True)
class BacktestResult:
    """What happened, and why.

    Attributes
    ----------
    equity, orders, fills, risk_events, trades, waterfall : polars.DataFrame
        As the functions of `evaluation.records` say.
    metrics : dict
        See `evaluation.metrics.summarise` and `trade_metrics`.
    walk : Walk
        The exact counts behind the frames.
    """

    equity: pl.DataFrame
    orders: pl.DataFrame
    fills: pl.DataFrame
    risk_events: pl.DataFrame
    trades: pl.DataFrame
    waterfall: pl.DataFrame
    metrics: dict[str, float]
    walk: Walk = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """The result of one evaluation in a search; see `evaluation.metrics` for the figures.

    `fills` is None unless they were counted.
    """

    net_return: float
    sharpe: float
    max_drawdown: float
    fees: float
    traded: float
    fills: int | None
    equity: Floats = field(repr=False)


class Setup(NamedTuple):
    """What differs from one walk over the same bars to another."""

    costs: CostConfig
    risk: RiskConfig
    initial_cash: float


Result = TypeVar("Result")
Progress = Callable[[int, int], None]


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
    funding: pl.DataFrame | None = None,
    controls: Controls | None = None,
) -> BacktestResult:
    """Trade `strategy` over `bars` and explain what it did.

    Parameters
    ----------
    bars, features, scores : polars.DataFrame
        In the contracts of those tables; `scores` of one model version, or None for a baseline. An
        allocation learns from bars before `first` too, and without them waits for its window.
    costs, risk, initial_cash
        As the books are configured; cash in quote.
    timeframe : timedelta
    strategy : {"model", "buy_and_hold", "ema_crossover"}
    symbols, first, last, filters, funding
        As in `serving.market.build_panel`.
    controls : Controls, optional
        What people said of the book, bar by bar; by default nobody said anything.

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
        funding=funding,
        history_bars=history_bars_of(risk),
    )
    check_capital(inputs.panel, initial_cash)
    placed = None if scores is None else place_scores(inputs.panel, scores)
    state = new_state(len(inputs.panel.symbols), initial_cash)
    walk = walk_book(strategy, inputs, placed, state, costs=costs, risk=risk, controls=controls)
    return explain(walk, initial_cash)


def prepare(
    bars: pl.DataFrame,
    features: pl.DataFrame,
    *,
    timeframe: timedelta,
    funding: pl.DataFrame | None = None,
) -> Inputs:
    """Return the arrays that all evaluations of one span share; errors as in `backtest`.

    `inputs.panel.locate(frame)` gives (row, bar, symbol) of the rows of any keyed frame, once; each
    trial then writes its predictions with `expected_return[bar, symbol] = prediction[row]`. The
    windows of an allocation begin with the span.
    """
    return build_inputs(bars, features, timeframe=timeframe, funding=funding, history_bars=0)


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
    scores = Scores(expected_return, horizon_bars)
    return _outcome(inputs, scores, Setup(costs, risk, initial_cash), "model")


def evaluate_all(
    inputs: Inputs,
    scores: Scores | None,
    setups: Sequence[Setup],
    *,
    strategy: str = "model",
    threads: int = 2,
    counting: bool = False,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Yield `evaluate` of one strategy under each setup, in their order.

    Parameters
    ----------
    inputs : Inputs
        From `prepare`.
    scores : Scores, optional
        None for a baseline.
    setups : sequence of Setup
    strategy : str
    threads : int
        The result does not depend on it.
    counting : bool
        Count the fills, which costs a little.
    progress : callable, optional
        Told (setups done, setups) from time to time.

    Raises
    ------
    ValueError
        If a capital is refused by `check_capital`.
    """
    _check_capitals(inputs, setups)
    return _in_threads(
        lambda setup: _outcome(inputs, scores, setup, strategy, counting=counting),
        setups,
        threads,
        progress,
    )


def backtest_all(
    inputs: Inputs,
    scores: Scores | None,
    setups: Sequence[Setup],
    *,
    strategy: str = "model",
    threads: int = 2,
    progress: Progress | None = None,
) -> Iterator[BacktestResult]:
    """Yield the explained result of one strategy under each setup; otherwise as `evaluate_all`."""
    _check_capitals(inputs, setups)

    def walk(setup: Setup) -> BacktestResult:
        return explain(_walk(inputs, scores, setup, strategy, recording=True), setup.initial_cash)

    return _in_threads(walk, setups, threads, progress)


def _check_capitals(inputs: Inputs, setups: Sequence[Setup]) -> None:
    for capital in {setup.initial_cash for setup in setups}:
        check_capital(inputs.panel, capital)


def _in_threads(
    work: Callable[[Setup], Result],
    setups: Sequence[Setup],
    threads: int,
    progress: Progress | None,
) -> Iterator[Result]:
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for done, result in enumerate(pool.map(work, setups), 1):
            yield result
            if progress is not None:
                progress(done, len(setups))


def _walk(
    inputs: Inputs, scores: Scores | None, setup: Setup, strategy: str, *, recording: bool
) -> Walk:
    state = new_state(len(inputs.panel.symbols), setup.initial_cash)
    return walk_book(
        strategy, inputs, scores, state, costs=setup.costs, risk=setup.risk, recording=recording
    )


def _outcome(
    inputs: Inputs,
    scores: Scores | None,
    setup: Setup,
    strategy: str,
    *,
    counting: bool = False,
) -> Outcome:
    walk = _walk(inputs, scores, setup, strategy, recording=counting)
    made = walk.tape.fills[: walk.tape.used[FILLS]]["kind"]
    equity = equity_curve(walk, setup.initial_cash)
    returns = np.nan_to_num(bar_returns(equity))
    return Outcome(
        net_return=float(equity[-1] / equity[0] - 1.0),
        sharpe=sharpe(returns, bars_per_year(inputs.panel.timeframe)),
        max_drawdown=max_drawdown(equity),
        fees=float(walk.state.money[FEES] / SCALE),
        traded=float(walk.state.money[TRADED] / SCALE),
        fills=int(np.count_nonzero(made != FUNDING_PAYMENT)) if counting else None,
        equity=equity,
    )


def explain(walk: Walk, initial_cash: float) -> BacktestResult:
    """Turn a recorded walk into frames and metrics."""
    fills, trades = fills_frame(walk), trades_frame(walk)
    record = summarise(
        equity_curve(walk, initial_cash),
        amounts(walk.tape.curve[:, CURVE_EXPOSURE]),
        trades.get_column("realised").to_numpy(),
        traded=float(walk.state.money[TRADED] / SCALE),
        fees=float(walk.state.money[FEES] / SCALE),
        fills=fills.filter(pl.col("side") != "funding").height,
        bars_per_year=bars_per_year(walk.panel.timeframe),
    )
    return BacktestResult(
        equity=equity_frame(walk, initial_cash),
        orders=orders_frame(walk),
        fills=fills,
        risk_events=risk_events_frame(walk),
        trades=trades,
        waterfall=waterfall_frame(walk),
        metrics=record | trade_metrics(trades),
        walk=walk,
    )
