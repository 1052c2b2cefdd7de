"""Every trial that was ever made in an experiment, counted, so that results can be charged for them.

What counts: the finished trials, those that were given up between folds too, of every training of the
MLflow experiment whose `as_of` is not later than the judged one's, whether its run still stands, failed or was
deleted and whether its search ever came to an end, and those of the judged training itself. A trial counts
once, whichever worker or machine ran it. A training of a later `as_of` was not there yet: a replay of the past
counts what the past had.

The Sharpe ratios whose spread is charged are annual and net of costs, of the returns a day that each
trial earned on the folds of its own search. A training keeps count, mean and variance as metrics, and the returns
themselves as `search/returns.parquet`. Trainings from before they were kept add to the count only. Where nothing
was chosen, the trials are those that stand in the search's study.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from evaluation.evidence import TrialMoments, pooled_moments, trial_moments
from pipelines.context import Context
from pipelines.tracking.plan import is_planned
from pipelines.tracking.search import daily_returns
from pipelines.tracking.study import Study
from training.tuning import Floats

if TYPE_CHECKING:
    from mlflow.entities import Run

RETURNS_FILE = "search/returns.parquet"
TRIALS = "search_trials"
_MEAN, _VARIANCE = "trial_sharpe_mean", "trial_sharpe_variance"


@dataclass(frozen=True)
class LifeOfTrials:
    """What is charged for: all trials, the trainings they were made in, and how they are spread."""

    trainings: int
    moments: TrialMoments

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types."""
        return asdict(self)


def moments_as_metrics(moments: TrialMoments) -> dict[str, float]:
    """Return the moments under the names by which later trainings find them."""
    return {_MEAN: moments.sharpe_mean, _VARIANCE: moments.sharpe_variance}


def count_trials(context: Context, as_of: datetime) -> LifeOfTrials:
    """Return the trials over the life of the experiment up to `as_of`.

    One training up to then must have been searched.
    """
    runs = context.registry.tracking.trainings(as_of)
    return life_of(runs, abandoned_searches(context, runs))


def life_of(runs: "Sequence[Run]", abandoned: Sequence[TrialMoments] = ()) -> LifeOfTrials:
    """Return the trials of parent runs and of abandoned searches together.

    A training that has two runs counts once.
    """
    searched = _searched(runs)
    known = [
        TrialMoments(int(metrics[TRIALS]), metrics[_MEAN], metrics[_VARIANCE])
        for metrics in searched.values()
        if _VARIANCE in metrics
    ]
    pooled = pooled_moments([*known, *abandoned])
    trials = sum(int(metrics[TRIALS]) for metrics in searched.values())
    trials += sum(one.trials for one in abandoned)
    moments = TrialMoments(trials, pooled.sharpe_mean, pooled.sharpe_variance)
    return LifeOfTrials(len(searched) + len(abandoned), moments)


def abandoned_searches(context: Context, runs: "Sequence[Run]") -> list[TrialMoments]:
    """Return the trials of trainings that were planned and never chose, from their studies."""
    planned = {run.data.tags["training_id"] for run in runs if is_planned(run)}
    found = []
    for training_id in sorted(planned - _searched(runs).keys()):
        with Study(context.databases.optuna, training_id) as study:
            if daily := daily_returns(study):
                found.append(trial_moments(daily.values()))
    return found


def _searched(runs: "Sequence[Run]") -> "dict[str, dict[str, float]]":
    """Return the metrics of the trainings whose search came to its end."""
    return {
        run.data.tags["training_id"]: run.data.metrics for run in runs if TRIALS in run.data.metrics
    }


def trials_as_frame(daily: Mapping[int, Floats]) -> pl.DataFrame:
    """Return one float32 column a trial, named by its place; null on days that it did not reach."""
    longest = max(returns.size for returns in daily.values())
    return pl.DataFrame(
        {
            str(place): pl.Series(returns, dtype=pl.Float32).extend_constant(
                None, longest - returns.size
            )
            for place, returns in daily.items()
        }
    )


def trials_of_frame(frame: pl.DataFrame) -> dict[int, Floats]:
    """Return what `trials_as_frame` was given, to the precision of float32."""
    return {
        int(column.name): column.drop_nulls().to_numpy().astype(np.float64)
        for column in frame.get_columns()
    }
