"""The search's objective: one set of hyper-parameters, judged fold by fold. Pure; storage is not here."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.backtest import evaluate, prepare
from evaluation.calibration import log_loss
from evaluation.metrics import bar_returns
from serving.config import CostConfig, RiskConfig
from serving.observations import Observations
from serving.projection import projected
from training.config import TrainingConfig
from training.fitting import selected_samples
from training.models import make_model, suggest
from training.models.protocol import Trial
from training.panel import Panel
from training.samples import Samples
from training.splits import SplitAudit
from training.walk_forward import class_returns, inner_folds

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Earn = Callable[[Floats], "Earned"]

DAILY = "daily"
"""Attribute of a trial: its net return a day on the folds that it ran, as `pack_returns` wrote it."""

TIE_BREAK = 1e-3
"""Weight of log loss beside net return, so that trials that trade alike are still told apart."""


_DAY = timedelta(days=1) // timedelta(microseconds=1)


class Pruned(Exception):
    """The trial is not worth another fold."""


@dataclass(frozen=True)
class Earned:
    """What trading a fold's expectations brought, net of costs.

    Attributes
    ----------
    net_return : float
        Log return over the fold.
    daily : array of float64, shape (days,)
        Simple return of every UTC day that the fold touches.
    """

    net_return: float
    daily: Floats


@dataclass(frozen=True)
class SearchFold:
    """One inner fold, its training rows in the model's own form so that all trials share them.

    `prepared` and `asked` have the same columns; `returns` are the mean returns of the classes among
    the training rows, `test` the rows of the panel that are asked for, `weight` what they weigh.
    """

    prepared: Any
    returns: tuple[float, float, float]
    asked: Observations
    test: Rows
    weight: Floats
    earn: Earn


def search_folds(
    panel: Panel, rows: Rows, config: TrainingConfig, engine: Callable[[Rows], Earn]
) -> tuple[list[SearchFold], list[SplitAudit]]:
    """Return the inner folds of training rows, prepared once, and their audits.

    Parameters
    ----------
    panel, rows, config
        Rows of the panel to be learned from.
    engine : callable
        ``engine(test rows)`` returns what `engine_earnings` does for these rows.
    """
    model = make_model(config, {})
    pairs, audits = inner_folds(panel, rows, config, name="search")
    folds = []
    for train, test in pairs:
        scaled = panel.realised[train] / panel.scale[train]
        returns = class_returns(scaled, panel.outcome[train], panel.weights(train))
        samples, asked = fold_inputs(panel, train, test, config, model.context_bars)
        prepared = model.prepare(samples)
        weight = panel.weights(test)
        folds.append(SearchFold(prepared, returns, asked, test, weight, engine(test)))
    return folds, audits


def fold_inputs(
    panel: Panel, train: Rows, test: Rows, config: TrainingConfig, context_bars: int
) -> tuple[Samples, Observations]:
    """Return what a fold is fitted on and what it is asked for, with the same columns.

    What is learned here (bin edges, a choice of columns) is learned from the training rows alone.
    """
    samples, projection = selected_samples(panel, train, config, context_bars)
    asked = panel.observations(test)
    return samples, projected(projection, asked, panel.feature_names, context_bars)


def engine_earnings(
    bars: pl.DataFrame,
    features: pl.DataFrame,
    keys: pl.DataFrame,
    horizon_bars: int,
    *,
    costs: CostConfig,
    risk: RiskConfig,
    initial_cash: float,
    timeframe: timedelta,
    funding: pl.DataFrame | None = None,
) -> Earn:
    """Return a function from expected returns of the rows `keys` to what the engine earns with them.

    The capital ramp is left out: it says how far a new book is trusted, not what a model is worth.

    Parameters
    ----------
    bars, features : polars.DataFrame
        Of the span that is traded; turned into arrays once, for all trials.
    keys : polars.DataFrame
        symbol and known_at of the rows that are scored.
    costs, risk, initial_cash, timeframe
        As the books are configured.
    funding : polars.DataFrame, optional
        What contracts paid over the span; by default nothing.
    """
    inputs = prepare(bars, features, timeframe=timeframe, funding=funding)
    risk = risk.model_copy(update={"ramp_start": 1.0})
    row, bar, symbol = inputs.panel.locate(keys)
    shape = (inputs.panel.bars, len(inputs.panel.symbols))
    closes = day_closes(inputs.panel.instants().to_physical().to_numpy())

    def earn(expected: Floats) -> Earned:
        placed = np.full(shape, np.nan)
        placed[bar, symbol] = expected[row]
        outcome = evaluate(
            inputs, placed, horizon_bars, costs=costs, risk=risk, initial_cash=initial_cash
        )
        net_return = float(np.log1p(max(outcome.net_return, -0.999999)))
        held = np.concatenate([outcome.equity[:1], outcome.equity[1:][closes]])
        return Earned(net_return, np.nan_to_num(bar_returns(held)))

    return earn


def evaluate_trial(
    trial: Trial, panel: Panel, folds: Sequence[SearchFold], config: TrainingConfig
) -> float:
    """Return what one set of hyper-parameters is worth, to be maximised.

    Parameters
    ----------
    trial : Trial
        Suggests parameters, is told the value of every fold, and may ask to stop.
    panel, folds, config
        As `search_folds` made them.

    The trial keeps the net return of every day of its folds (`DAILY`), whatever the objective: what a search
    proves is judged by it.

    Returns
    -------
    float
        Mean over folds of minus log loss, or of the net log return of trading the expectations of
        uncalibrated probabilities, less `TIE_BREAK` times log loss.

    Raises
    ------
    Pruned
        If the trial should not go on.
    """
    params = suggest(config, trial)
    values: list[float] = []
    daily: list[Floats] = []
    for number, fold in enumerate(folds):
        model = make_model(config, params)
        proba = model.fit_prepared(fold.prepared).predict_proba(fold.asked)
        loss = log_loss(proba, panel.outcome[fold.test], fold.weight)
        earned = fold.earn(proba @ np.asarray(fold.returns) * panel.scale[fold.test])
        daily.append(earned.daily)
        trial.set_user_attr(DAILY, pack_returns(np.concatenate(daily)))
        by_loss = config.search.objective == "log_loss"
        values.append(-loss if by_loss else earned.net_return - TIE_BREAK * loss)
        trial.report(values[-1], number)
        if number + 1 < len(folds) and trial.should_prune():
            raise Pruned
    return float(np.mean(values))


def day_closes(known_at: Rows) -> Rows:
    """Return the places of the last bar of every UTC day; the bar known at midnight closes the old day.

    Parameters
    ----------
    known_at : array of int64, shape (bars,)
        Microseconds since the epoch, rising.
    """
    day = (known_at - 1) // _DAY
    return np.flatnonzero(np.append(day[1:] != day[:-1], True))


def pack_returns(daily: Floats) -> str:
    """Return daily returns as text: float32, little-endian, in base 64 (2 kB a year)."""
    return base64.b64encode(daily.astype("<f4").tobytes()).decode("ascii")


def unpack_returns(text: str) -> Floats:
    """Return what `pack_returns` wrote, to the precision of float32."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float64)
