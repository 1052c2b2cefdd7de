"""What a model is measured by: baselines, and the champion of its time, on the same bars."""

import numpy as np
import polars as pl

from evaluation.backtest import BacktestResult
from evaluation.metrics import bar_returns
from pipelines.context import Context
from pipelines.tables import KEY
from pipelines.tracking.plan import Inputs, TrainingPlan
from training.tuning import Floats

BASELINES = ("buy_and_hold", "ema_crossover")
_COVERED = 0.95
_SCORES = (*KEY, "horizon_bars", "p_down", "p_flat", "p_up", "expected_return", "lower", "upper")


def trade_all(
    context: Context, plan: TrainingPlan, inputs: Inputs, scores: pl.DataFrame
) -> dict[str, BacktestResult]:
    """Trade the model's out-of-fold scores, the baselines and the champion over all test windows.

    `champion` is there only where one had the role and its scores cover the bars.
    """
    settings = context.settings
    span = inputs.between(plan.windows[0].test_start, plan.windows[-1].test_end)
    results = {"model": span.trade(settings, scores)}
    for name in BASELINES:
        results[name] = span.trade(settings, None, name)
    champion = champion_scores(context, plan, scores)
    if champion is not None:
        results["champion"] = span.trade(settings, champion)
    return results


def champion_scores(
    context: Context, plan: TrainingPlan, scores: pl.DataFrame
) -> pl.DataFrame | None:
    """Return what the champion as of the plan's instant said of the rows of `scores`, or None.

    All of it was said without having seen the outcome: live scores for hours after it was trained,
    and out-of-fold scores of its own windows before. None if there was no champion, it was deleted, or it
    scored less than 95 % of the rows.
    """
    version = context.ledger.champion_at(plan.as_of)
    if version is None or not context.registry.has(version):
        return None
    info = context.registry.version_info(version)
    start, end = plan.windows[0].test_start, plan.windows[-1].test_end
    held = context.lake.read("out_of_fold_scores", start=start, end=min(end, info.as_of))
    said = [held.filter(pl.col("training_id") == info.training_id).select(_SCORES)]
    if context.lake.exists("scores") and end > info.as_of:
        live = context.lake.read("scores", start=max(start, info.as_of), end=end)
        said.append(live.filter(pl.col("model_version") == version).select(_SCORES))
    found = pl.concat(said).join(scores.select(KEY), on=KEY, how="semi").sort(KEY)
    return found if found.height >= _COVERED * scores.height else None


def returns_of(result: BacktestResult, initial_cash: float) -> Floats:
    """Return the net simple return of every bar, (T,); 0 after a bankruptcy."""
    equity = np.concatenate([[initial_cash], result.equity["equity"].to_numpy()])
    return np.nan_to_num(bar_returns(equity))
