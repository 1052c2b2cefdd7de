"""Fit and score one outer window of a walk-forward."""

from datetime import datetime
from typing import Any

import polars as pl

from evaluation.forecast import forecast_metrics
from pipelines.clock import format_instant
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError, ContractViolation
from pipelines.tables import KEY, OUT_OF_FOLD_SCORES
from pipelines.tracking.artifacts import plain_json
from pipelines.tracking.fits import (
    CLASS_SHARES,
    RAW_FILE,
    fit_window,
    in_sample_metrics,
    uncalibrated,
)
from pipelines.tracking.importance import record_importance
from pipelines.tracking.plan import Inputs, TrainingPlan, load_plan, read_panel
from training.errors import TooLittleData
from training.panel import Panel
from training.walk_forward import FittedSpan, Window


def run_window(context: Context, as_of: datetime, training_id: str, window: int) -> StepReport:
    """Fit on the purged span before one test window, and score the window once.

    Reads: the plan of the training; bars, features (at the plan's versions).
    Writes: out_of_fold_scores and importance (this training, this window), a child run in MLflow with
    metrics in and out of sample and the probabilities before calibration.
    Re-run: a finished window is left as it is; an unfinished one is fitted again, to the same scores.
    """
    tracking = context.registry.tracking
    detail: dict[str, Any] = {"training_id": training_id, "window": window}
    if tracking.is_finished(training_id, window):
        return StepReport("run_window", as_of, changed=False, detail=detail)
    parent, plan = load_plan(context, training_id)
    chosen = _window(plan, window)
    run_id = tracking.open_window(parent.info.run_id, training_id, window).info.run_id
    inputs, panel = read_panel(context, plan)
    try:
        fitted, scores = fit_window(panel, plan, chosen)
    except TooLittleData as error:
        raise ContractViolation(
            f"window {window}: {error}; it was not scored",
            remedy="backfill what its span lacks, or use longer windows (training.split.test_days)",
        ) from error
    context.lake.replace(
        OUT_OF_FOLD_SCORES,
        scores.with_columns(
            training_id=pl.lit(training_id), window=pl.lit(window, pl.Int64)
        ).select(*OUT_OF_FOLD_SCORES.schema),
        start=chosen.test_start,
        end=chosen.test_end,
        where={"training_id": [training_id]},
    )
    metrics = {
        **_measure(context, inputs, panel, chosen, fitted, scores),
        **in_sample_metrics(context.settings, inputs, panel, chosen, fitted),
    }
    tracking.write_frame(run_id, RAW_FILE, uncalibrated(fitted.scorer, panel, chosen))
    path, fit = "importance.json", f"window {window}"
    record_importance(context.lake, tracking, run_id, path, plan, fit, fitted)
    _log(context, run_id, chosen, fitted, metrics)
    return StepReport(
        "run_window", as_of, changed=True, detail=detail | {"metrics": plain_json(metrics)}
    )


def _window(plan: TrainingPlan, number: int) -> Window:
    if not 0 <= number < len(plan.windows):
        raise ConfigError(
            f"training {plan.training_id} has no window {number}",
            remedy=f"use 0 to {len(plan.windows) - 1}",
        )
    return plan.windows[number]


def _measure(
    context: Context,
    inputs: Inputs,
    panel: Panel,
    window: Window,
    fitted: FittedSpan,
    scores: pl.DataFrame,
) -> dict[str, float]:
    outcomes = panel.outcomes(panel.rows_between(window.test_start, window.test_end))
    scored = scores.join(outcomes, on=KEY, how="left")
    traded = inputs.between(window.test_start, window.test_end)
    return {
        **forecast_metrics(scored, fitted.class_shares),
        **traded.trade(context.settings, scores).metrics,
        "train_rows": float(fitted.rows),
        "fitted_rows": float(fitted.fitted_rows),
        "mean_uniqueness": fitted.mean_uniqueness,
        "overlaps": float(sum(audit.overlaps for audit in fitted.audits)),
        **dict(zip(CLASS_SHARES, fitted.class_shares, strict=True)),
    }


def _log(
    context: Context, run_id: str, window: Window, fitted: FittedSpan, metrics: dict[str, float]
) -> None:
    tracking = context.registry.tracking
    spec = fitted.scorer.spec
    tracking.write_json(run_id, "split_audit.json", [audit.as_json() for audit in fitted.audits])
    tracking.write_json(run_id, "scorer.json", spec.as_json())
    tracking.log(
        run_id,
        params={
            "train_start": format_instant(window.train_start),
            "test_start": format_instant(window.test_start),
            "test_end": format_instant(window.test_end),
        },
        metrics=metrics,
    )
    tracking.finish(run_id)
