"""The search's objective: one set of hyper-parameters, judged fold by fold. Pure; storage is not here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.calibration import log_loss
from training.config import TrainingConfig
from training.models import model_class
from training.models.protocol import Trial
from training.panel import Panel
from training.splits import SplitAudit
from training.walk_forward import class_returns, inner_folds, training_sample

Floats = npt.NDArray[np.float64]

TIE_BREAK = 1e-3
"""Weight of log loss beside net return, so that trials that trade alike are still told apart."""


class Pruned(Exception):
    """The trial is not worth another fold."""


@dataclass(frozen=True)
class SearchFold:
    """One inner fold, its training rows in the model's own form so that all trials share them."""

    prepared: Any
    returns: tuple[float, float, float]
    test: npt.NDArray[np.int64]


def search_folds(
    panel: Panel, rows: npt.NDArray[np.int64], config: TrainingConfig
) -> tuple[list[SearchFold], list[SplitAudit]]:
    """Return the inner folds of training rows, prepared once, and their audits."""
    model = model_class(config.model)(
        config.model_params, seed=config.search.seed, threads=config.threads
    )
    pairs, audits = inner_folds(panel, rows, config, name="search")
    folds = []
    for train, test in pairs:
        scaled = panel.realised[train] / panel.scale[train]
        returns = class_returns(scaled, panel.outcome[train], panel.weights(train))
        prepared = model.prepare(*training_sample(panel, train, config))
        folds.append(SearchFold(prepared, returns, test))
    return folds, audits


def evaluate_trial(
    trial: Trial,
    panel: Panel,
    folds: Sequence[SearchFold],
    config: TrainingConfig,
    net_return: Callable[[int, pl.DataFrame], float],
) -> float:
    """Return what one set of hyper-parameters is worth, to be maximised.

    Parameters
    ----------
    trial : Trial
        Suggests parameters, is told the mean after every fold, and may ask to stop.
    panel, folds, config
        As `search_folds` made them.
    net_return : callable
        ``net_return(fold number, scores)`` runs the engine on out-of-fold scores and returns the
        net log return; not called where the objective is log loss.

    Returns
    -------
    float
        Mean over folds of minus log loss, or of net log return less `TIE_BREAK` times log loss.

    Raises
    ------
    Pruned
        If the trial should not go on.
    """
    kind = model_class(config.model)
    params = {**kind.space(trial), **config.model_params}
    values: list[float] = []
    for number, fold in enumerate(folds):
        model = kind(params, seed=config.search.seed, threads=config.threads)
        proba = model.fit_prepared(fold.prepared).predict_proba(panel.X[fold.test])
        loss = log_loss(proba, panel.outcome[fold.test], panel.weights(fold.test))
        if config.search.objective == "log_loss":
            values.append(-loss)
        else:
            gain = net_return(number, raw_scores(panel, fold, proba))
            values.append(gain - TIE_BREAK * loss)
        trial.report(float(np.mean(values)), number)
        if number + 1 < len(folds) and trial.should_prune():
            raise Pruned
    return float(np.mean(values))


def raw_scores(panel: Panel, fold: SearchFold, proba: Floats) -> pl.DataFrame:
    """Return scores of a fold's test rows from uncalibrated probabilities, without an interval."""
    expected = proba @ np.asarray(fold.returns) * panel.scale[fold.test]
    horizon = panel.label.horizon_bars
    return panel.keys[fold.test].with_columns(
        p_down=proba[:, 0],
        p_flat=proba[:, 1],
        p_up=proba[:, 2],
        expected_return=expected,
        lower=expected,
        upper=expected,
        horizon_bars=pl.lit(horizon, pl.Int64),
    )
