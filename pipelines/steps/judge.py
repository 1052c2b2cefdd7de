"""Judge a walk-forward on its test windows together: evidence, gates and the model card."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from evaluation.backtest import BacktestResult
from evaluation.forecast import pooled
from evaluation.gates import walk_forward_gates
from pipelines.clock import format_instant
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.tracking.artifacts import plain_json
from pipelines.tracking.card import CARD_FILE, card, explained, verdict_tags
from pipelines.tracking.checks import ask_labels
from pipelines.tracking.evidence import Evidence, gather
from pipelines.tracking.evidence_plots import evidence_figures
from pipelines.tracking.plan import TrainingPlan, load_plan, read_panel
from pipelines.tracking.plots import equity_plot, window_table
from pipelines.tracking.rivals import trade_all

if TYPE_CHECKING:
    from mlflow.entities import Run

GATES_FILE = "gates.json"
EVIDENCE_FILE = "evidence.json"
_FORECAST = (
    "rows",
    "log_loss",
    "base_rate_log_loss",
    "brier",
    "accuracy",
    "directional_accuracy",
    "confident_directional_accuracy",
    "interval_coverage",
    "return_correlation",
)
_TABLE = (
    "log_loss",
    "base_rate_log_loss",
    "in_sample_log_loss",
    "directional_accuracy",
    "interval_coverage",
    "total_return",
    "sharpe",
    "in_sample_sharpe",
    "max_drawdown",
    "trades",
    "fees",
)


def judge(context: Context, as_of: datetime, training_id: str) -> StepReport:
    """Trade all out-of-fold scores as one record, ask what it proves, and write gates and card.

    Gates inform; whatever they say, the challenger gets its book and trades on paper. A training that
    finds what is not there, or misses what is, is tagged `unfit`.

    Reads: the plan, the search and the finished windows of the training, its logged model where a
    hold-out is to be scored, the trials of all trainings before it; out_of_fold_scores, scores of the
    champion, importance, bars, features, of contracts funding; the ledger's promotions.
    Writes: metrics, plots, the per-window table, evidence, gates and card on the parent run.
    Re-run: a judged training is left as it is.
    """
    tracking = context.registry.tracking
    run, plan = load_plan(context, training_id)
    run_id = run.info.run_id
    if "judged" in run.data.tags:
        gates = tracking.read_json(run_id, GATES_FILE)
        return StepReport("judge", as_of, changed=False, detail=_detail(training_id, gates))
    windows = _finished(context, plan)
    scores = _out_of_fold(context, plan)
    inputs, panel = read_panel(context, plan)
    results = trade_all(context, plan, inputs, scores)
    checks, asked = ask_labels(panel, plan)
    evidence = gather(context, run, plan, inputs, panel, scores, results, windows, checks)
    metrics = _metrics(run, plan, windows, results, evidence)
    walked = walk_forward_gates(_observed(plan, metrics, evidence), plan.training.gates)
    gates = [*asked, *explained(walked, evidence.untold())]
    _draw(context, run_id, plan, results, windows, evidence)
    text = card(run, plan, evidence, gates, metrics)
    tracking.write_json(run_id, EVIDENCE_FILE, evidence.as_json())
    tracking.write_json(run_id, GATES_FILE, [gate.as_json() for gate in gates])
    tracking.write_text(run_id, CARD_FILE, text)
    tags = {
        **verdict_tags(gates),
        **({} if evidence.holdout is None else evidence.holdout.tags()),
        "mlflow.note.content": text,
        "judged": "true",
    }
    passed = {"gates_passed": sum(gate.passed for gate in gates), "gates": len(gates)}
    tracking.log(run_id, metrics=metrics | passed, tags=tags)
    found = [plain_json(gate.as_json()) for gate in gates]
    detail = {**_detail(training_id, found), "metrics": plain_json(metrics)}
    return StepReport("judge", as_of, changed=True, detail=detail)


def _detail(training_id: str, gates: list[dict[str, Any]]) -> dict[str, Any]:
    return {"training_id": training_id, "gates": gates}


def _finished(context: Context, plan: TrainingPlan) -> "list[Run]":
    """Return the runs of all windows; ContractViolation if one, or the final fit, has not finished."""
    runs = context.registry.tracking.windows_of(plan.training_id)
    done = {int(run.data.tags["window"]): run for run in runs}
    missing = [str(w.number) for w in plan.windows if w.number not in done]
    if missing:
        raise ContractViolation(
            f"training {plan.training_id}: window {', '.join(missing)} has not finished",
            remedy="run run-window for it, then judge again",
        )
    if context.registry.model_of(plan.training_id) is None:
        raise ContractViolation(
            f"training {plan.training_id} has no complete model",
            remedy="run fit-challenger for it, then judge again",
        )
    return [done[window.number] for window in plan.windows]


def _out_of_fold(context: Context, plan: TrainingPlan) -> pl.DataFrame:
    scores = context.lake.read(
        "out_of_fold_scores", start=plan.windows[0].test_start, end=plan.windows[-1].test_end
    )
    return scores.filter(pl.col("training_id") == plan.training_id)


def _metrics(
    run: "Run",
    plan: TrainingPlan,
    windows: "list[Run]",
    results: Mapping[str, BacktestResult],
    evidence: Evidence,
) -> dict[str, float]:
    rows = [window.data.metrics for window in windows]
    overlaps = plan.search_overlaps + run.data.metrics["fit_overlaps"]
    overlaps += sum(row["overlaps"] for row in rows) + evidence.path_overlaps
    overlaps += sum(audit.overlaps for check in evidence.checks for audit in check.audits)
    others = {name: result for name, result in results.items() if name != "model"}
    return {
        **pooled([{name: row[name] for name in _FORECAST} for row in rows]),
        **results["model"].metrics,
        **evidence.metrics(),
        **{f"{who}_{k}": v for who, result in others.items() for k, v in result.metrics.items()},
        "overlaps": overlaps,
    }


def _observed(
    plan: TrainingPlan, metrics: Mapping[str, float], evidence: Evidence
) -> dict[str, float]:
    """Return what the gates look at."""
    nan, forecasts = float("nan"), evidence.forecasts
    overfitting, cash = evidence.search.overfitting, evidence.record.against["cash"]
    observed = {
        "overlaps": metrics["overlaps"],
        "total_return": metrics["total_return"],
        "sharpe_lead": metrics["sharpe"] - metrics["buy_and_hold_sharpe"],
        "max_drawdown": -metrics["max_drawdown"],
        "skill_lower": nan if forecasts.skill is None else forecasts.skill.lower,
        "calibration_error": nan if forecasts.after is None else forecasts.after.error.value,
        "interval_miss": abs(metrics["interval_coverage"] - plan.training.interval_level),
        "deflated_sharpe": evidence.record.deflated.probability,
        "overfitting": nan if overfitting is None else overfitting.probability,
        "superior_p": nan if cash is None else cash.p_value,
        "track_record": evidence.record.bars / evidence.record.track_record_bars,
    }
    if evidence.holdout is not None:
        observed["holdout_skill"] = evidence.holdout.skill
    return observed


def _draw(
    context: Context,
    run_id: str,
    plan: TrainingPlan,
    results: Mapping[str, BacktestResult],
    windows: "list[Run]",
    evidence: Evidence,
) -> None:
    tracking = context.registry.tracking
    starts = [window.test_start for window in plan.windows]
    curves = {name: result.equity for name, result in results.items()}
    table = [
        {
            "window": window.number,
            "from": format_instant(window.test_start)[:10],
            "to": format_instant(window.test_end)[:10],
            **{name: run.data.metrics.get(name, float("nan")) for name in _TABLE},
        }
        for window, run in zip(plan.windows, windows, strict=True)
    ]
    figures = {
        "equity": equity_plot(curves, starts),
        "windows": window_table(table),
        **evidence_figures(evidence),
    }
    for name, figure in figures.items():
        tracking.write_figure(run_id, f"plots/{name}.png", figure)
    tracking.write_json(run_id, "windows.json", table)
    tracking.write_json(run_id, "waterfall.json", results["model"].waterfall.to_dicts())
