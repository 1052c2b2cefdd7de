"""Importance of features across retrains: written by every fit, read by whoever looks back.

The table `importance` holds one row a training, a fit of it (`window 0` ... and the challenger), a
feature and a kind: `gain`, `permutation`, `cluster_permutation`, `shap` as `training.importance`
defines them. The JSON file beside each run in MLflow says the same.
"""

from datetime import datetime, timedelta

import polars as pl

from evaluation.importance import ImportanceStability, common_features, importance_stability
from pipelines.lake import Lake
from pipelines.tables import IMPORTANCE
from pipelines.tracking.plan import TrainingPlan
from pipelines.tracking.runs import Tracking
from training.importance import KINDS
from training.walk_forward import FittedSpan

CHALLENGER = "challenger"
TOP = 25
"""How many of the largest features are compared and shown."""

_TICK = timedelta(microseconds=1)


def record_importance(
    lake: Lake,
    tracking: Tracking,
    run_id: str,
    path: str,
    plan: TrainingPlan,
    fit: str,
    fitted: FittedSpan,
) -> None:
    """Write what a fit made of its features: a JSON file of the run, and rows of `importance`.

    Running it again leaves both as they are.

    Parameters
    ----------
    lake, tracking
    run_id, path : str
        The run and where its file goes.
    plan : TrainingPlan
    fit : str
        Name of the fit within its training.
    fitted : FittedSpan
    """
    found = fitted.importance.by_feature(fitted.scorer.feature_names)
    tracking.write_json(run_id, path, found)
    rows = [
        (plan.training_id, fit, feature, kind, plan.as_of, value)
        for feature, values in found.items()
        for kind, value in values.items()
        if value is not None
    ]
    frame = pl.DataFrame(rows, schema=IMPORTANCE.schema, orient="row")
    lake.replace(
        IMPORTANCE,
        frame,
        start=plan.as_of - _TICK,
        end=plan.as_of,
        where={"training_id": [plan.training_id], "fit": [fit]},
    )


def windows_stability(lake: Lake, plan: TrainingPlan) -> ImportanceStability | None:
    """Return how far the windows of a training agree on what gains most, or None with less than two."""
    held = lake.read(IMPORTANCE.name, start=plan.as_of - _TICK, end=plan.as_of)
    ours = (pl.col("training_id") == plan.training_id) & (pl.col("kind") == "gain")
    gains = held.filter(ours)
    fits = [f"window {window.number}" for window in plan.windows]
    shares = [
        dict(gains.filter(pl.col("fit") == fit).select("feature", "value").iter_rows())
        for fit in fits
    ]
    names, importance = common_features([one for one in shares if one])
    if min(importance.shape) < 2:
        return None
    return importance_stability(importance, top=min(TOP, len(names)))


def retrain_stability(lake: Lake, plan: TrainingPlan) -> ImportanceStability | None:
    """Return how far a training's final fit agrees with that of the newest training before its `as_of`.

    None if there is none, or they have fewer than two features in common.
    """
    gains = lake.read(IMPORTANCE.name, end=plan.as_of).filter(
        (pl.col("fit") == CHALLENGER) & (pl.col("kind") == "gain")
    )
    earlier = gains.filter(pl.col("known_at") < plan.as_of).sort("known_at", "training_id")
    if earlier.is_empty():
        return None
    pair = (earlier["training_id"][-1], plan.training_id)
    shares = [
        dict(gains.filter(pl.col("training_id") == one).select("feature", "value").iter_rows())
        for one in pair
    ]
    names, importance = common_features(shares)
    if min(importance.shape) < 2:
        return None
    return importance_stability(importance, top=min(TOP, len(names)))


def challengers_importance(lake: Lake, *, end: datetime, last: int) -> pl.DataFrame:
    """Return what the final fits of the newest trainings made of their features.

    Parameters
    ----------
    lake : Lake
    end : datetime
        Trainings as of later instants are left out.
    last : int
        How many trainings.

    Returns
    -------
    polars.DataFrame
        training_id, known_at, feature, `rank` by gain (1 is the largest; equals by name), and a column
        a kind, null where not measured; oldest training first.
    """
    held = lake.read(IMPORTANCE.name, end=end).filter(pl.col("fit") == CHALLENGER)
    newest = (
        held.select("known_at", "training_id").unique().sort("known_at", "training_id").tail(last)
    )
    kinds = [pl.col("value").filter(pl.col("kind") == kind).first().alias(kind) for kind in KINDS]
    wide = (
        held.join(newest, on=["known_at", "training_id"])
        .group_by("known_at", "training_id", "feature")
        .agg(*kinds)
        .sort("known_at", "training_id", "gain", "feature", descending=[False, False, True, False])
    )
    place = pl.int_range(1, pl.len() + 1).over("known_at", "training_id")
    return wide.with_columns(rank=place)
