"""A window of the present held against the training of one version: read from lake and registry, judged."""

from datetime import datetime

import numpy as np
import polars as pl

from evaluation.drift.judgement import Finding, judge_window
from evaluation.drift.reference import Reference
from pipelines.clock import timeframe_delta
from pipelines.context import Context
from pipelines.errors import ContractViolation
from pipelines.labelled_bars import read_labels
from pipelines.quality.refusals import without_refused
from pipelines.tables import KEY
from pipelines.tracking.drift_reference import bars_of, predictions_of, read_drift_reference
from pipelines.tracking.plan import feature_set_of
from pipelines.tracking.registry import VersionInfo
from serving.compiled import Counts
from training.config import LabelConfig


def reference_of(context: Context, info: VersionInfo) -> Reference:
    """Return the drift reference of a version that was trained on the features at hand.

    Raises
    ------
    ContractViolation
        If they are another set, or the reference is missing or damaged.
    """
    if feature_set_of(context) != info.feature_set:
        raise ContractViolation(
            f"the features at hand are another set than {info.feature_set} of model version {info.version}",
            remedy="train on the features at hand, or build the others again",
        )
    return read_drift_reference(context, info)


def judge_version(
    context: Context, info: VersionInfo, as_of: datetime
) -> tuple[list[Finding], Reference, Counts | None]:
    """Hold the last window before `as_of` against what a version was trained on.

    Returns
    -------
    findings : list of Finding
    reference : Reference
    counts : int64 (k, BINS) or None
        Of the window's features in the reference's bins, for the page.

    Raises
    ------
    ContractViolation
        As in `reference_of`.
    """
    reference = reference_of(context, info)
    settings, step = context.settings, timeframe_delta(context.settings.timeframe)
    start = as_of - reference.window_bars * step
    features = context.lake.read("features", start=start, end=as_of, symbols=settings.universe)
    features = without_refused(context.lake, features.filter(pl.col("venue") == settings.venue))
    features = features.sort("known_at", "symbol")
    spread = reference.features
    names = () if spread is None else spread.names
    X = features.select(names).to_numpy().astype(np.float32).reshape(features.height, len(names))
    found = judge_window(
        reference,
        X,
        bars_of(features, step),
        predictions_of(_scored(context, info, start, as_of), step),
        level=settings.drift.level,
        statistics=settings.drift.statistics,
        folklore=settings.drift.folklore,
    )
    return found, reference, None if spread is None else spread.count(X)


def _scored(context: Context, info: VersionInfo, start: datetime, as_of: datetime) -> pl.DataFrame:
    """Return the champion's scores of the window and before, with what came of them.

    An outcome counts once its whole horizon is over: those that end early are the large moves. As far
    back as a window and a horizon: hours without a score are made up for by earlier ones.
    """
    settings, step = context.settings, timeframe_delta(context.settings.timeframe)
    label = LabelConfig.model_validate_json(info.tags["label"])
    first = start - (as_of - start) - label.horizon_bars * step
    scores = context.lake.read("scores", start=first, end=as_of, symbols=settings.universe)
    scores = scores.filter(
        (pl.col("model_version") == info.version) & (pl.col("venue") == settings.venue)
    )
    labels = read_labels(context, label, first, as_of, settings.universe)
    over = pl.col("known_at") <= as_of - label.horizon_bars * step
    outcomes = labels.filter(over).select(*KEY, "outcome")
    return scores.join(outcomes, on=KEY, how="left")
