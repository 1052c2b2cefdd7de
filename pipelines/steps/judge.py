"""Judge a walk-forward on its test windows together, against baselines."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from evaluation.backtest import BacktestResult
from evaluation.forecast import PROBABILITIES, pooled
from evaluation.gates import walk_forward_gates
from pipelines.clock import format_instant
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.tables import KEY
from pipelines.tracking.plan import TrainingPlan, load_plan, read_panel
from pipelines.tracking.plots import calibration_plot, equity_plot, window_table
from pipelines.tracking.runs import plain_json
from training.panel import Panel

if TYPE_CHECKING:
    from mlflow.entities import Run

GATES_FILE = "gates.json"
_BASELINES = ("buy_and_hold", "ema_crossover")
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
    "directional_accuracy",
    "interval_coverage",
    "total_return",
    "sharpe",
    "max_drawdown",
    "trades",
    "fees",
)


def judge(context: Context, as_of: datetime, training_id: str) -> StepReport:
    """Trade all out-of-fold scores as one record, compare with the baselines, and write the gates.

    Gates inform; whatever they say, the challenger gets its book and trades on paper.

    Reads: the plan and the finished windows of the training; out_of_fold_scores, bars, features.
    Writes: metrics, plots, the per-window table and the gates on the parent run.
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
    span = inputs.between(plan.windows[0].test_start, plan.windows[-1].test_end)
    results = {"model": span.trade(context.settings, scores)}
    for name in _BASELINES:
        results[name] = span.trade(context.settings, None, name)
    metrics = {
        **pooled([{name: row[name] for name in _FORECAST} for row in windows]),
        **results["model"].metrics,
        "overlaps": plan.search_overlaps
        + run.data.metrics["fit_overlaps"]
        + sum(row["overlaps"] for row in windows),
    }
    gates = [
        plain_json(gate.as_json())
        for gate in walk_forward_gates(
            metrics,
            results["buy_and_hold"].metrics,
            overlaps=round(metrics["overlaps"]),
            interval_level=plan.training.interval_level,
        )
    ]
    _draw(context, run_id, plan, panel, scores, results, windows)
    tracking.write_json(run_id, GATES_FILE, gates)
    compared = {f"{b}_{k}": v for b in _BASELINES for k, v in results[b].metrics.items()}
    verdicts = {f"gate.{g['name']}": "passed" if g["passed"] else "failed" for g in gates}
    tracking.log(run_id, metrics={**metrics, **compared}, tags={"judged": "true", **verdicts})
    detail = {**_detail(training_id, gates), "metrics": plain_json(metrics)}
    return StepReport("judge", as_of, changed=True, detail=detail)


def _detail(training_id: str, gates: list[dict[str, Any]]) -> dict[str, Any]:
    return {"training_id": training_id, "gates": gates}


def _finished(context: Context, plan: TrainingPlan) -> list[dict[str, float]]:
    """Return the metrics of all windows; ContractViolation if one has not finished."""
    runs: list[Run] = context.registry.tracking.windows_of(plan.training_id)
    done = {int(run.data.tags["window"]): dict(run.data.metrics) for run in runs}
    missing = [str(w.number) for w in plan.windows if w.number not in done]
    if missing:
        raise ContractViolation(
            f"training {plan.training_id}: window {', '.join(missing)} has not finished",
            remedy="run run-window for it, then judge again",
        )
    return [done[window.number] for window in plan.windows]


def _out_of_fold(context: Context, plan: TrainingPlan) -> pl.DataFrame:
    scores = context.lake.read(
        "out_of_fold_scores", start=plan.windows[0].test_start, end=plan.windows[-1].test_end
    )
    return scores.filter(pl.col("training_id") == plan.training_id)


def _draw(
    context: Context,
    run_id: str,
    plan: TrainingPlan,
    panel: Panel,
    scores: pl.DataFrame,
    results: dict[str, BacktestResult],
    windows: list[dict[str, float]],
) -> None:
    tracking = context.registry.tracking
    starts = [window.test_start for window in plan.windows]
    curves = {name: result.equity for name, result in results.items()}
    tracking.write_figure(run_id, "plots/equity.png", equity_plot(curves, starts))
    outcomes = panel.outcomes(panel.rows_between(starts[0], plan.windows[-1].test_end))
    known = scores.join(outcomes, on=KEY).filter(pl.col("outcome").is_not_null())
    proba, outcome = known.select(PROBABILITIES).to_numpy(), known["outcome"].to_numpy()
    tracking.write_figure(run_id, "plots/calibration.png", calibration_plot(proba, outcome))
    table = [
        {
            "window": window.number,
            "from": format_instant(window.test_start)[:10],
            "to": format_instant(window.test_end)[:10],
            **{name: row.get(name, float("nan")) for name in _TABLE},
        }
        for window, row in zip(plan.windows, windows, strict=True)
    ]
    tracking.write_json(run_id, "windows.json", table)
    tracking.write_figure(run_id, "plots/windows.png", window_table(table))
    waterfall = results["model"].waterfall
    tracking.write_json(run_id, "waterfall.json", waterfall.to_dicts())
