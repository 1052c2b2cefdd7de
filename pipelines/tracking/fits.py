"""The two fits of a training: before a test window, and the final one; the same whoever asks for them."""

from dataclasses import replace

import polars as pl

from evaluation.degradation import LARGER_IS_BETTER
from evaluation.forecast import PROBABILITIES, forecast_metrics
from pipelines.settings import Settings
from pipelines.tables import KEY
from pipelines.tracking.plan import Inputs, TrainingPlan
from serving.scorer import Scorer
from training.holdout import final_span
from training.panel import Panel
from training.splits import audit_split
from training.walk_forward import FittedSpan, Window, fit_span, score_rows

RAW_FILE = "uncalibrated.parquet"
"""Probabilities of a window's rows before calibration, beside its run."""
IN_SAMPLE = "in_sample_"
"""Beginning of the names of a window's metrics on the rows that it was fitted on."""
CLASS_SHARES = ("share_down", "share_flat", "share_up")
"""Metrics of a window: shares of the classes among the rows that it was fitted on."""


def fit_window(panel: Panel, plan: TrainingPlan, window: Window) -> tuple[FittedSpan, pl.DataFrame]:
    """Fit on the span before a window and return what the fit gave and the window's scores.

    Raises
    ------
    TooLittleData
        If a fold is empty, or the rows are too few for the model or the interval.
    ValueError
        If a fold overlaps its test interval.
    """
    train = panel.training_rows(window.train_start, window.test_start)
    test = panel.rows_between(window.test_start, window.test_end)
    name = f"window {window.number}"
    audit = audit_split(
        name, panel.known_at, panel.label_end, train, test, timeframe=panel.timeframe
    )
    fitted = fit_span(
        panel,
        plan.params,
        plan.training,
        start=window.train_start,
        end=window.test_start,
        feature_set=plan.feature_set,
        name=name,
    )
    fitted.audits.append(audit)
    return fitted, score_rows(fitted.scorer, panel, test)


def fit_final(panel: Panel, plan: TrainingPlan) -> FittedSpan:
    """Fit on the newest training span, what would be deployed.

    Raises
    ------
    TooLittleData
        If a fold is empty, or the rows are too few for the model or the interval.
    ValueError
        If a fold overlaps its test interval.
    """
    start, end = final_span(plan.as_of, plan.first, plan.training, timeframe=panel.timeframe)
    return fit_span(
        panel,
        plan.params,
        plan.training,
        start=start,
        end=end,
        feature_set=plan.feature_set,
        name="challenger",
    )


def in_sample_metrics(
    settings: Settings, inputs: Inputs, panel: Panel, window: Window, fitted: FittedSpan
) -> dict[str, float]:
    """Return the metrics that degrade, of the rows that the fit has seen: how much it remembers."""
    rows = panel.training_rows(window.train_start, window.test_start)
    scores = score_rows(fitted.scorer, panel, rows)
    scored = scores.join(panel.outcomes(rows), on=KEY, how="left")
    seen = inputs.between(window.train_start, window.test_start)
    metrics = {
        **forecast_metrics(scored, fitted.class_shares),
        "sharpe": seen.trade_quickly(settings, scores).sharpe,
    }
    return {f"{IN_SAMPLE}{name}": metrics[name] for name in LARGER_IS_BETTER if name in metrics}


def uncalibrated(scorer: Scorer, panel: Panel, window: Window) -> pl.DataFrame:
    """Return the probabilities of a window's rows as the model itself gives them, by key."""
    plain = Scorer(replace(scorer.spec, calibration={"kind": "none"}), scorer.predictor)
    rows = panel.rows_between(window.test_start, window.test_end)
    return score_rows(plain, panel, rows).select(
        *KEY, *(pl.col(name).cast(pl.Float32) for name in PROBABILITIES)
    )
