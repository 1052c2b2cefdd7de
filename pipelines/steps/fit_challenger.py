"""Fit the challenger on the newest span and log it as a model."""

from datetime import datetime
from typing import Any

from pipelines.clock import format_instant
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.tracking.artifacts import plain_json
from pipelines.tracking.drift_reference import log_drift_reference
from pipelines.tracking.fits import fit_final
from pipelines.tracking.importance import (
    CHALLENGER,
    TOP,
    record_importance,
    windows_stability,
)
from pipelines.tracking.plan import TrainingPlan, load_plan, read_panel, run_of
from pipelines.tracking.plots import importance_plot
from training.errors import TooLittleData
from training.panel import Panel
from training.walk_forward import FittedSpan

_EXAMPLE_ROWS = 5


def fit_challenger(context: Context, as_of: datetime, training_id: str) -> StepReport:
    """Fit on the newest training span, with labels that had ended by `as_of`, and log the model.

    Reads: the plan of the training; bars, features (at the plan's versions); its windows' importance
    and out_of_fold_scores.
    Writes: importance (this training's final fit), the training's logged model, its drift reference
    and the importance plot in MLflow.
    Re-run: a completely logged model is left as it is; a half-logged one is deleted and logged again.
    """
    registry = context.registry
    detail: dict[str, Any] = {"training_id": training_id}
    run, plan = load_plan(context, training_id)
    detail |= run_of(run)
    if (model := registry.model_of(training_id)) is not None:
        detail["model_id"] = model.model_id
        return StepReport("fit_challenger", as_of, changed=False, detail=detail)
    _, panel = read_panel(context, plan)
    fitted = _fit(panel, plan)
    run_id = run.info.run_id
    tracking = registry.tracking
    tracking.write_json(run_id, "fit/split_audit.json", [a.as_json() for a in fitted.audits])
    agreement = _log_importance(context, run_id, plan, fitted)
    tracking.log(
        run_id,
        params={
            "train_start": format_instant(fitted.scorer.spec.train_start),
            "train_end": format_instant(fitted.scorer.train_end),
        },
        metrics={
            "fit_train_rows": fitted.rows,
            "fit_fitted_rows": fitted.fitted_rows,
            "fit_mean_uniqueness": fitted.mean_uniqueness,
            "fit_overlaps": sum(audit.overlaps for audit in fitted.audits),
            **agreement,
        },
    )
    detail["model_id"] = registry.log_model(
        run_id,
        training_id,
        fitted.scorer,
        example=panel.X[panel.training_rows(plan.first, as_of)[-_EXAMPLE_ROWS:]],
        tags={
            "as_of": format_instant(as_of),
            "model": plan.training.model,
            "data_hash": plan.data_hash,
            "label": plan.training.label.model_dump_json(),
            "seed": str(plan.training.search.seed),
            **{f"version.{table}": str(version) for table, version in plan.versions.items()},
            **log_drift_reference(context, run_id, plan, panel, fitted.scorer),
        },
    )
    return StepReport("fit_challenger", as_of, changed=True, detail=detail)


def _log_importance(
    context: Context, run_id: str, plan: TrainingPlan, fitted: FittedSpan
) -> dict[str, float]:
    """Log what the fit made of its features; return how far the windows agree on what matters."""
    tracking = context.registry.tracking
    path = "fit/importance.json"
    record_importance(context.lake, tracking, run_id, path, plan, CHALLENGER, fitted)
    names = fitted.scorer.feature_names
    figure = importance_plot(names, fitted.importance, most=TOP)
    tracking.write_figure(run_id, "plots/importance.png", figure)
    stability = windows_stability(context.lake, plan)
    if stability is None:
        return {}
    tracking.write_json(run_id, "fit/importance_stability.json", plain_json(stability.as_json()))
    return {
        "importance_mean_spearman": stability.mean_spearman,
        "importance_mean_jaccard": stability.mean_jaccard,
    }


def _fit(panel: Panel, plan: TrainingPlan) -> FittedSpan:
    try:
        return fit_final(panel, plan)
    except TooLittleData as error:
        raise ContractViolation(
            f"challenger: {error}; no model was logged",
            remedy="backfill what its span lacks, or set training.split.train_days higher",
        ) from error
