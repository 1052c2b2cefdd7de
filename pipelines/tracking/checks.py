"""What a training is asked beyond its windows: two known answers, a hold-out, many paths."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from evaluation.forecast import forecast_metrics
from evaluation.gates import Gate, gate
from evaluation.metrics import sharpe
from pipelines.clock import format_instant, parse_instant
from pipelines.context import Context
from pipelines.errors import ContractViolation
from pipelines.tables import KEY
from pipelines.tracking.plan import Inputs, TrainingPlan
from training.config import TrainingConfig
from training.errors import TooLittleData
from training.fitting import fit_rows
from training.holdout import final_span, plan_holdout, spent_share
from training.nulls import LabelCheck, check_labels
from training.panel import Panel
from training.paths import path_expectations
from training.splits import SplitAudit
from training.tuning import Floats, Rows, engine_earnings
from training.walk_forward import Window, score_rows

if TYPE_CHECKING:
    from mlflow.entities import Run

ASKED = ("shuffled_labels", "shifted_labels", "labels_checked")
"""Beginnings of the names of gates without which nothing of a training is to be believed."""
HOLDOUT_START, HOLDOUT_END = "holdout.start", "holdout.end"
_DAY = timedelta(days=1)


def ask_labels(panel: Panel, plan: TrainingPlan) -> tuple[list[LabelCheck], list[Gate]]:
    """Fit on shuffled and on shifted labels of the final fit's span, with the parameters that were chosen.

    Returns
    -------
    checks : list of LabelCheck
    gates : list of Gate
        One a check. A span that is too short to ask is a gate that failed, with the reason. Both lists are
        empty where `training.nulls.enabled` is false.
    """
    config = plan.training
    if not config.nulls.enabled:
        return [], []
    rows = _final_rows(panel, plan)
    every = _of_thinned_rows(config)

    def fit(changed: Panel, train: Rows, test: Rows) -> Floats:
        return fit_rows(changed, train, plan.params, every).predict_proba(
            changed.observations(test)
        )

    embargo = config.split.embargo_bars * panel.timeframe
    try:
        checks = check_labels(
            panel, rows, fit, config.nulls, embargo=embargo, seed=config.search.seed
        )
    except TooLittleData as error:
        return [], [gate("labels_checked", float("nan"), "above", 0.0, f"not asked: {error}")]
    return checks, [_gate_of(check) for check in checks]


def _of_thinned_rows(config: TrainingConfig) -> TrainingConfig:
    """Return how the training fits rows that were thinned for the checks already.

    A symbol or cluster that a fold of the training has rows enough for must have enough here, too.
    """
    nulls, folds = config.nulls, config.split.inner_folds
    thinned = config.sample_every_bars / nulls.every_bars
    kept = (1.0 - 1.0 / nulls.folds) / (1.0 - 1.0 / folds)
    least = max(1, int(config.group_min_rows * thinned * kept))
    return config.model_copy(update={"sample_every_bars": 1, "group_min_rows": least})


def _gate_of(check: LabelCheck) -> Gate:
    rule = "above" if check.name.startswith("shifted") else "at most"
    return gate(
        check.name,
        check.skill.lower,
        rule,  # type: ignore[arg-type]
        0.0,
        f"lower bound of the skill in nats: {check.meaning}",
    )


@dataclass(frozen=True)
class Holdout:
    """The hold-out, scored once by the final fit.

    `spent_share` is how much of it earlier trainings had looked at; `metrics` as those of a window.
    """

    window: Window
    spent_share: float
    metrics: dict[str, float]

    @property
    def skill(self) -> float:
        """Log loss of the training's class shares less the model's [nats]."""
        return self.metrics["base_rate_log_loss"] - self.metrics["log_loss"]

    def tags(self) -> dict[str, str]:
        """Return the span that was looked at, for trainings to come."""
        start, end = self.window.test_start, self.window.test_end
        return {HOLDOUT_START: format_instant(start), HOLDOUT_END: format_instant(end)}


def score_holdout(
    context: Context, plan: TrainingPlan, inputs: Inputs, panel: Panel
) -> Holdout | None:
    """Score the hold-out with the training's logged model; None if there is none.

    Raises
    ------
    ContractViolation
        If the hold-out is shorter than the horizon, or the model is not there.
    """
    try:
        window = plan_holdout(plan.as_of, plan.first, plan.training, timeframe=panel.timeframe)
    except ValueError as error:
        raise ContractViolation(str(error), remedy="mend training.split.holdout_days") from None
    if window is None:
        return None
    rows = panel.rows_between(window.test_start, window.test_end)
    scores = score_rows(context.registry.scorer_of(plan.training_id), panel, rows)
    learned = panel.outcome[_final_rows(panel, plan)]
    shares = np.bincount(learned, minlength=3) / learned.size
    scored = scores.join(panel.outcomes(rows), on=KEY, how="left")
    traded = inputs.between(window.test_start, window.test_end)
    metrics = {
        **forecast_metrics(scored, shares.tolist()),
        **traded.trade(context.settings, scores).metrics,
    }
    others = context.registry.tracking.trainings(plan.as_of)
    return Holdout(window, spent_share(window, _looked_at(others, plan.training_id)), metrics)


def _looked_at(runs: "Iterable[Run]", training_id: str) -> list[tuple[datetime, datetime]]:
    return [
        (parse_instant(run.data.tags[HOLDOUT_START]), parse_instant(run.data.tags[HOLDOUT_END]))
        for run in runs
        if HOLDOUT_START in run.data.tags and run.data.tags["training_id"] != training_id
    ]


def path_sharpes(
    context: Context, plan: TrainingPlan, inputs: Inputs, panel: Panel
) -> tuple[Floats | None, list[SplitAudit]]:
    """Return the annual Sharpe ratio along every combinatorial path of the study's history.

    None, and no audits, where `training.evidence.combinatorial_groups` is 0.

    Raises
    ------
    ContractViolation
        If the history cannot be cut into so many groups.
    """
    if not plan.training.evidence.combinatorial_groups:
        return None, []
    settings = context.settings
    start, end = plan.windows[0].train_start, _final_end(panel, plan)
    rows = panel.training_rows(start, end)
    try:
        expected, audits = path_expectations(panel, rows, plan.params, plan.training)
    except TooLittleData as error:
        raise ContractViolation(
            f"combinatorial paths: {error}",
            remedy="set training.evidence.combinatorial_groups to 0",
        ) from error
    keys = panel.keys[rows]
    span = inputs.between(start, keys["known_at"].max())  # type: ignore[arg-type]
    earn = engine_earnings(
        span.bars,
        span.features,
        keys,
        plan.training.label.horizon_bars,
        costs=settings.costs,
        risk=settings.risk,
        initial_cash=settings.books.initial_cash,
        timeframe=panel.timeframe,
        funding=span.funding,
    )
    ratios = [sharpe(earn(path).daily, timedelta(days=365) / _DAY) for path in expected]
    return np.nan_to_num(ratios), audits


def _final_rows(panel: Panel, plan: TrainingPlan) -> Rows:
    span = final_span(plan.as_of, plan.first, plan.training, timeframe=panel.timeframe)
    return panel.training_rows(*span)


def _final_end(panel: Panel, plan: TrainingPlan) -> datetime:
    return final_span(plan.as_of, plan.first, plan.training, timeframe=panel.timeframe)[1]
