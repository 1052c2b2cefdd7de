"""All the evidence of one training, gathered from its windows, its search and the trainings before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.backtest import BacktestResult
from evaluation.degradation import Degradation, degradation
from evaluation.evidence import (
    ForecastEvidence,
    RecordEvidence,
    SearchEvidence,
    forecast_evidence,
    record_evidence,
    search_evidence,
)
from evaluation.importance import ImportanceStability
from pipelines.clock import timeframe_delta
from pipelines.context import Context
from pipelines.rule_regimes import REGIMES
from pipelines.tables import KEY
from pipelines.tracking.checks import Holdout, path_sharpes, score_holdout
from pipelines.tracking.fits import CLASS_SHARES, IN_SAMPLE, RAW_FILE
from pipelines.tracking.importance import retrain_stability
from pipelines.tracking.plan import Inputs, TrainingPlan
from pipelines.tracking.rivals import returns_of
from pipelines.tracking.trials import RETURNS_FILE, LifeOfTrials, count_trials, trials_of_frame
from serving.limits import bars_per_year
from training.nulls import LabelCheck
from training.panel import Panel
from training.tuning import Floats

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class Evidence:
    """Everything that was asked of a training; what could not be answered is None.

    Attributes
    ----------
    life : LifeOfTrials
    search : SearchEvidence
    record : RecordEvidence
    forecasts : ForecastEvidence
    degradation : list of Degradation
    importance : ImportanceStability or None
        Of the final fit and that of the training before.
    checks : list of LabelCheck
    holdout : Holdout or None
    path_sharpes : array of float64 or None
        Annual Sharpe ratio along each combinatorial path.
    path_overlaps : int
        Training labels that overlapped a test interval of them.
    """

    life: LifeOfTrials
    search: SearchEvidence
    record: RecordEvidence
    forecasts: ForecastEvidence
    degradation: list[Degradation]
    importance: ImportanceStability | None
    checks: list[LabelCheck]
    holdout: Holdout | None
    path_sharpes: Floats | None
    path_overlaps: int

    def as_json(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        return {
            "life": self.life.as_json(),
            "search": self.search.as_json(),
            "record": self.record.as_json(),
            "forecasts": self.forecasts.as_json(),
            "degradation": [one.as_json() for one in self.degradation],
            "importance": self.importance and self.importance.as_json(),
            "checks": [check.as_json() for check in self.checks],
            "holdout": self.holdout
            and {
                "window": self.holdout.window.as_json(),
                "spent_share": self.holdout.spent_share,
                "metrics": self.holdout.metrics,
            },
            "path_sharpes": None if self.path_sharpes is None else self.path_sharpes.tolist(),
        }

    def bounds(self) -> dict[str, float]:
        """Return every interval under `<metric>`, `<metric>_lower` and `<metric>_upper`."""
        told, coverage = self.forecasts, self.forecasts.coverage
        intervals = {
            "sharpe": self.record.sharpe,
            "accuracy": told.accuracy,
            "directional_accuracy": told.directional_accuracy,
            "skill": told.skill,
            "interval_coverage": coverage and coverage.measured,
            "calibration_error": told.after and told.after.error,
            "calibration_error_before": told.before and told.before.error,
            "return_slope": told.returns and told.returns.slope,
            "return_spearman": told.returns and told.returns.spearman,
        }
        ends = ("value", "lower", "upper")
        return {
            name + ("" if end == "value" else f"_{end}"): getattr(interval, end)
            for name, interval in intervals.items()
            if interval is not None
            for end in ends
        }

    def untold(self) -> dict[str, str]:
        """Return why what a gate asks for could not be measured, by the name of the gate."""
        forecasts = {"beats_base_rate": "skill", "calibrated": "after"}
        told = self.forecasts.untold
        found = {gate: told[measure] for gate, measure in forecasts.items() if measure in told}
        if "overfitting" in self.search.untold:
            found["overfitting"] = self.search.untold["overfitting"]
        if self.record.untold:
            found |= dict.fromkeys(("superior", "deflated_sharpe"), self.record.untold)
        return found

    def metrics(self) -> dict[str, float]:
        """Return every number by a stable name, for MLflow."""
        record, search = self.record, self.search
        found = {
            **self.bounds(),
            "life_trials": self.life.moments.trials,
            "life_trainings": self.life.trainings,
            "life_trial_sharpe_variance": self.life.moments.sample_variance,
            "expected_maximum_sharpe": record.deflated.expected_maximum,
            "deflated_sharpe": record.deflated.probability,
            "track_record_bars_needed": record.track_record_bars,
            "record_bars": record.bars,
            **{f"superior_p_{name}": p.p_value for name, p in record.against.items() if p},
            **{f"degradation_{one.metric}": one.loss for one in self.degradation},
            **{f"null_{check.name}_skill": check.skill.value for check in self.checks},
        }
        if search.independent is not None:
            found["independent_trials"] = search.independent
        if search.overfitting is not None:
            found["overfitting"] = search.overfitting.probability
        if search.superior is not None:
            found["superior_p_search"] = search.superior.p_value
        if self.importance is not None:
            found["importance_previous_spearman"] = self.importance.mean_spearman
            found["importance_previous_jaccard"] = self.importance.mean_jaccard
        if self.holdout is not None:
            found |= {f"holdout_{name}": value for name, value in self.holdout.metrics.items()}
            found["holdout_spent_share"] = self.holdout.spent_share
        if self.path_sharpes is not None:
            found |= spread_of(self.path_sharpes)
        return {name: float(value) for name, value in found.items()}


def spread_of(ratios: Floats) -> dict[str, float]:
    """Return least, median and largest Sharpe ratio of the paths, and the share that lost."""
    return {
        "path_sharpe_lowest": float(ratios.min()),
        "path_sharpe_median": float(np.median(ratios)),
        "path_sharpe_highest": float(ratios.max()),
        "path_share_losing": float(np.mean(ratios < 0)),
    }


def gather(
    context: Context,
    run: "Run",
    plan: TrainingPlan,
    inputs: Inputs,
    panel: Panel,
    scores: pl.DataFrame,
    results: Mapping[str, BacktestResult],
    windows: "Sequence[Run]",
    checks: list[LabelCheck],
) -> Evidence:
    """Ask everything of a training whose windows have been scored and traded.

    Parameters
    ----------
    run : Run
        Parent run of the training.
    scores : polars.DataFrame
        Out-of-fold scores of all test windows.
    results : mapping
        From `pipelines.tracking.rivals.trade_all`.
    windows : sequence of Run
        Finished window runs, in order.
    checks : list of LabelCheck
    """
    tracking, config = context.registry.tracking, plan.training.evidence
    cash = context.settings.books.initial_cash
    returns = {name: returns_of(result, cash) for name, result in results.items()}
    life = count_trials(context, plan.as_of)
    daily = trials_of_frame(tracking.read_frame(run.info.run_id, RETURNS_FILE))
    seed = plan.training.search.seed
    ratios, audits = path_sharpes(context, plan, inputs, panel)
    metrics = [dict(window.data.metrics) for window in windows]
    return Evidence(
        life=life,
        search=search_evidence(daily, seed=seed),
        record=record_evidence(
            returns.pop("model"),
            returns,
            bars_per_year(timeframe_delta(context.settings.timeframe)),
            life.moments,
            level=config.level,
            paths=config.paths,
            seed=seed,
        ),
        forecasts=_forecasts(context, plan, panel, scores, windows),
        degradation=_degradation(metrics),
        importance=retrain_stability(context.lake, plan),
        checks=checks,
        holdout=score_holdout(context, plan, inputs, panel),
        path_sharpes=ratios,
        path_overlaps=sum(audit.overlaps for audit in audits),
    )


def scored_rows(panel: Panel, plan: TrainingPlan, scores: pl.DataFrame) -> pl.DataFrame:
    """Return scores with `outcome`, `realised_return` and `regime` (-1 where not known), by key."""
    rows = panel.rows_between(plan.windows[0].test_start, plan.windows[-1].test_end)
    known = panel.outcomes(rows).with_columns(regime=pl.Series(regime_of(panel)[rows]))
    return known.join(scores, on=KEY, how="inner", maintain_order="left")


def regime_of(panel: Panel) -> npt.NDArray[np.int64]:
    """Return the place in `REGIMES` of every row's state; -1 where it or its features are not there."""
    names = [f"regime_{name}" for name in REGIMES]
    if not set(names) <= set(panel.feature_names):
        return np.full(panel.known_at.size, -1)
    flags = panel.X[:, [panel.feature_names.index(name) for name in names]]
    return np.where((flags == 1).any(axis=1), np.argmax(flags == 1, axis=1), -1)


def _forecasts(
    context: Context,
    plan: TrainingPlan,
    panel: Panel,
    scores: pl.DataFrame,
    windows: "Sequence[Run]",
) -> ForecastEvidence:
    tracking, config = context.registry.tracking, plan.training
    raw = pl.concat([tracking.read_frame(window.info.run_id, RAW_FILE) for window in windows])
    scored = scored_rows(panel, plan, scores).join(
        raw, on=KEY, how="left", suffix="_raw", maintain_order="left"
    )
    shares = np.array([[w.data.metrics[name] for name in CLASS_SHARES] for w in windows])
    return forecast_evidence(
        scored,
        shares[scored["window"].to_numpy()],
        interval_level=config.interval_level,
        horizon_bars=config.label.horizon_bars,
        raw=scored.select("p_down_raw", "p_flat_raw", "p_up_raw").cast(pl.Float64).to_numpy(),
        regime=scored["regime"].to_numpy(),
        regime_names=REGIMES,
        level=config.evidence.level,
        paths=config.evidence.paths,
        seed=config.search.seed,
    )


def _degradation(windows: list[dict[str, float]]) -> list[Degradation]:
    inside = [
        {name.removeprefix(IN_SAMPLE): v for name, v in row.items() if name.startswith(IN_SAMPLE)}
        for row in windows
    ]
    return degradation(inside, windows)
