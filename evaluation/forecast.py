"""Predicted against actual: what a set of scores was worth once the outcomes are known."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from evaluation.calibration import brier_score, interval_coverage, log_loss

PROBABILITIES = ("p_down", "p_flat", "p_up")


def forecast_metrics(scored: pl.DataFrame, base_rates: Sequence[float]) -> dict[str, float]:
    """Measure scores against outcomes; rows whose outcome is null are left out.

    Parameters
    ----------
    scored : polars.DataFrame
        Score columns, `outcome` (0 down, 1 flat, 2 up) and `realised_return` [log return over the
        horizon], one row a score.
    base_rates : sequence of three floats
        Shares of the classes where the model was trained: the forecast that needs no model.

    Returns
    -------
    dict
        `rows`; `log_loss`, `base_rate_log_loss` [nats]; `brier` [0..2]; `accuracy` of the likeliest
        class; `directional_accuracy` of the sign of `expected_return` against that of the realised
        return, and the same for the tenth of rows with the largest expectation in units of its
        interval (`confident_directional_accuracy`); `interval_coverage` [fraction];
        `return_correlation` (Pearson) of expected and realised returns, 0 where one is constant.

    Raises
    ------
    ValueError
        If no outcome is known.
    """
    known = scored.filter(pl.col("outcome").is_not_null())
    if known.is_empty():
        raise ValueError("no outcome of the scored rows is known; nothing can be measured")
    proba = known.select(PROBABILITIES).to_numpy()
    outcome = known["outcome"].to_numpy()
    realised, expected, lower, upper = (
        known[name].to_numpy() for name in ("realised_return", "expected_return", "lower", "upper")
    )
    hit = np.sign(expected) == np.sign(realised)
    confidence = np.abs(expected) / np.maximum(upper - lower, 1e-12)
    surest = np.argsort(-confidence, kind="stable")[: max(known.height // 10, 1)]
    constant = np.ptp(expected) == 0 or np.ptp(realised) == 0
    base = np.broadcast_to(np.asarray(base_rates), proba.shape)
    return {
        "rows": float(known.height),
        "log_loss": log_loss(proba, outcome),
        "base_rate_log_loss": log_loss(base, outcome),
        "brier": brier_score(proba, outcome),
        "accuracy": float(np.mean(proba.argmax(axis=1) == outcome)),
        "directional_accuracy": float(hit.mean()),
        "confident_directional_accuracy": float(hit[surest].mean()),
        "interval_coverage": interval_coverage(realised, lower, upper),
        "return_correlation": 0.0 if constant else float(np.corrcoef(expected, realised)[0, 1]),
    }


def pooled(windows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the metrics of several windows together: means weighted by `rows`, which are summed."""
    rows = np.array([window["rows"] for window in windows])
    means = {
        name: float(np.average([window[name] for window in windows], weights=rows))
        for name in windows[0]
        if name != "rows"
    }
    return {"rows": float(rows.sum()), **means}
