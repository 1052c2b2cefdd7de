"""A book walking through time: the inputs of its strategy, its signals, and the engine's run.

Backtests and paper trading both come through `walk_book`; they differ only in how many bars they
hand over at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from serving.allocation import allocation_signals
from serving.compiled import Floats
from serving.config import CostConfig, RiskConfig
from serving.controls import Controls
from serving.engine import run
from serving.limits import Limits, limits_of
from serving.market import Filters, Panel, build_panel
from serving.signals import (
    Signals,
    buy_and_hold_signals,
    ema_crossover_signals,
    model_signals,
)
from serving.state import State
from serving.tape import Tape, new_tape

STRATEGIES = ("model", "buy_and_hold", "ema_crossover")
FEATURES_READ = (
    "realised_vol_72",
    "atr_14",
    "ema_gap_24_96",
    "btc_correlation_168",
    "vol_ratio_24_168",
)
SCORES_READ = ("expected_return", "horizon_bars")


@dataclass(frozen=True)
class Inputs:
    """What every strategy may read over one span.

    Attributes
    ----------
    panel : Panel
    sigma, atr, ema_gap, correlation, stress : float64 (bars, n)
        The features of `FEATURES_READ`, in that order; NaN where not valid.
    history : float64 (k, n), optional
        Closes of the k bars before the panel's first, NaN where missing. Only an allocation of a
        portfolio reads it, and it refuses to go without.
    """

    panel: Panel
    sigma: Floats
    atr: Floats
    ema_gap: Floats
    correlation: Floats
    stress: Floats
    history: Floats | None = None


@dataclass(frozen=True)
class Scores:
    """What one model said: expected log return over `horizon_bars`, (bars, n), NaN where not scored."""

    expected_return: Floats
    horizon_bars: Floats | int


@dataclass(frozen=True)
class Walk:
    """One book's way through a span: what was asked, what was written down, under which limits."""

    panel: Panel
    signals: Signals
    limits: Limits
    tape: Tape
    state: State


def build_inputs(
    bars: pl.DataFrame,
    features: pl.DataFrame,
    *,
    timeframe: timedelta,
    symbols: Sequence[str] | None = None,
    first: datetime | None = None,
    last: datetime | None = None,
    filters: Mapping[str, Filters] | None = None,
    funding: pl.DataFrame | None = None,
    history_bars: int | None = None,
) -> Inputs:
    """Return the arrays of a span; parameters and errors as in `market.build_panel`.

    `features` holds the columns of `FEATURES_READ`; rows outside the span or the universe are
    passed over, rows that are missing are NaN. `history_bars` says how many closes before `first`
    are taken from `bars` for an allocation (`allocation.history_bars_of`); by default no history
    is made.
    """
    panel = build_panel(
        bars,
        timeframe=timeframe,
        symbols=symbols,
        first=first,
        last=last,
        filters=filters,
        funding=funding,
    )
    missing = [name for name in FEATURES_READ if name not in features.columns]
    if missing:
        raise ValueError(
            f"features: columns {', '.join(missing)} are missing; strategies read them"
        )
    history = None if history_bars is None else _closes_before(panel, bars, history_bars)
    sigma, atr, ema_gap, correlation, stress = panel.place(features, *FEATURES_READ)
    return Inputs(panel, sigma, atr, ema_gap, correlation, stress, history)


def _closes_before(panel: Panel, bars: pl.DataFrame, count: int) -> Floats:
    before = replace(panel, first=panel.known_at(-count), bars=count)
    return before.place(bars, "close")[0]


def place_scores(panel: Panel, scores: pl.DataFrame) -> Scores:
    """Return one model version's rows of a scores frame as arrays over `panel`.

    Raises
    ------
    ValueError
        If the frame holds several model versions.
    """
    if "model_version" in scores.columns:
        versions = scores.get_column("model_version").unique().sort()
        if versions.len() > 1:
            raise ValueError(
                f"scores of {versions.len()} model versions ({', '.join(versions)}); a book follows one"
            )
    expected_return, horizon_bars = panel.place(scores, *SCORES_READ)
    return Scores(expected_return, horizon_bars)


def strategy_signals(
    strategy: str, inputs: Inputs, scores: Scores | None, state: State, risk: RiskConfig
) -> Signals:
    """Return what `strategy` asks for over the span, given the book before it.

    Raises
    ------
    ValueError
        If the strategy is not known, or is a model without scores.
    """
    wishes = _wishes(strategy, inputs, scores, state, risk)
    return wishes._replace(correlation=inputs.correlation, stress=inputs.stress)


def _wishes(
    strategy: str, inputs: Inputs, scores: Scores | None, state: State, risk: RiskConfig
) -> Signals:
    if strategy == "buy_and_hold":
        return buy_and_hold_signals(inputs.panel.market.close, ~np.isnan(state.last_close))
    if strategy == "ema_crossover":
        return ema_crossover_signals(inputs.ema_gap, inputs.sigma, inputs.atr, risk)
    if strategy != "model":
        raise ValueError(f"strategy {strategy!r} is not one of {', '.join(STRATEGIES)}")
    if scores is None:
        raise ValueError("strategy 'model' trades scores, and none were given")
    signals = model_signals(
        scores.expected_return, scores.horizon_bars, inputs.sigma, inputs.atr, risk
    )
    if risk.allocation == "kelly":
        return signals
    return allocation_signals(signals, scores.horizon_bars, inputs.panel, inputs.history, risk)


def walk_book(
    strategy: str,
    inputs: Inputs,
    scores: Scores | None,
    state: State,
    *,
    costs: CostConfig,
    risk: RiskConfig,
    controls: Controls | None = None,
    recording: bool = True,
) -> Walk:
    """Walk a book through the span of `inputs`, changing `state` in place.

    Risk rules do not apply to buy and hold; costs and `controls` (by default none) do.
    """
    panel = inputs.panel
    signals = strategy_signals(strategy, inputs, scores, state, risk)
    limits = limits_of(costs, risk, panel.timeframe, rules_apply=strategy != "buy_and_hold")
    tape = new_tape(panel.bars, len(panel.symbols), recording=recording)
    run(panel.market, signals, state, limits, tape, controls)
    return Walk(panel, signals, limits, tape, state)
