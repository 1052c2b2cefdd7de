"""Ask once a day whether the market is still the one that the champion was trained on."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from evaluation.drift.judgement import Finding, judge_window
from evaluation.drift.reference import Reference
from pipelines import clock
from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.drift_page import write_drift_page
from pipelines.errors import ContractViolation
from pipelines.quality.refusals import without_refused
from pipelines.tables import DRIFT, KEY
from pipelines.tracking.drift_reference import bars_of, predictions_of, read_drift_reference
from pipelines.tracking.plan import feature_set_of
from pipelines.tracking.registry import VersionInfo
from serving.compiled import Counts
from training.config import LabelConfig
from training.labels import label_bars

DECISION = "decision"
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def check_drift(context: Context, as_of: datetime) -> StepReport:
    """Hold the last window against the champion's training, and decide whether to ask for another.

    The features one by one and together, the predictions, what came of them, and what they promise of
    themselves; with cuts that alarm on `drift.level` of the days on which nothing drifted. A reference
    that is missing or cannot be read is a row with its reason, not a failure.

    Reads: features, quality, scores, bars, the ledger's promotions, the champion's drift reference,
    earlier rows of drift.
    Writes: drift (the rows of `as_of`), metrics on the champion's MLflow run,
    `<home>/reports/drift/<day>.html`.
    Re-run: finds the same rows and page.
    """
    check_as_of(as_of, context.settings.timeframe)
    version = context.ledger.champion_at(as_of)
    if version is None:
        detail: dict[str, Any] = {"alarms": 0, "note": "no model is champion yet"}
        return StepReport("check_drift", as_of, changed=False, detail=detail)
    info, reference, counts = context.registry.version_info(version), None, None
    try:
        reference = _reference_of(context, info)
    except ContractViolation as refusal:
        findings = [_refusal(str(refusal))]
    else:
        findings, counts = _judge(context, info, reference, as_of)
    alarms = [finding for finding in findings if finding.alarm]
    decision = _decide(context, alarms, as_of)
    changed = _write(context, version, [*findings, decision], as_of)
    _log_metrics(context, info, findings, as_of)
    page = write_drift_page(context, version, reference, counts, as_of)
    detail = {
        "champion": version,
        "findings": len(findings),
        "alarms": len(alarms),
        "retrain": decision.alarm,
        "reason": decision.reason,
        "path": str(page.path),
    }
    return StepReport("check_drift", as_of, changed or page.changed, detail)


def _reference_of(context: Context, info: VersionInfo) -> Reference:
    if feature_set_of(context) != info.feature_set:
        raise ContractViolation(
            f"the features at hand are another set than {info.feature_set} of model version {info.version}",
            remedy="train on the features at hand, or build the others again",
        )
    return read_drift_reference(context, info)


def _judge(
    context: Context, info: VersionInfo, reference: Reference, as_of: datetime
) -> tuple[list[Finding], Counts | None]:
    """Return the findings of the window, and its counts for the page."""
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
    return found, None if spread is None else spread.count(X)


def _scored(context: Context, info: VersionInfo, start: datetime, as_of: datetime) -> pl.DataFrame:
    """Return the champion's scores of the window and of a horizon before, with what came of them.

    An outcome counts once its whole horizon is over: those that end early are the large moves.
    """
    settings, step = context.settings, timeframe_delta(context.settings.timeframe)
    label = LabelConfig.model_validate_json(info.tags["label"])
    first = start - label.horizon_bars * step
    scores = context.lake.read("scores", start=first, end=as_of, symbols=settings.universe)
    scores = scores.filter(
        (pl.col("model_version") == info.version) & (pl.col("venue") == settings.venue)
    )
    run_up = (label.volatility_window + 1) * step
    bars = context.lake.read("bars", start=first - run_up, end=as_of, symbols=settings.universe)
    bars = bars.filter(pl.col("venue") == settings.venue)
    labels = label_bars(bars, label, timeframe=step, end=as_of)
    over = pl.col("known_at") <= as_of - label.horizon_bars * step
    outcomes = labels.filter(over).select(*KEY, outcome=pl.col("label").cast(pl.Int64) + 1)
    return scores.join(outcomes, on=KEY, how="left")


def _refusal(reason: str) -> Finding:
    nothing = (None, None, None, None)
    return Finding("reference", "*", "not_measured", *nothing, 0, False, reason)


def _decide(context: Context, alarms: list[Finding], as_of: datetime) -> Finding:
    """Return the row that says whether an early retraining is asked for, and why (not)."""
    period = timedelta(days=context.settings.drift.retrain_at_most_every_days)
    tick = timedelta(microseconds=1)
    earlier = context.lake.read(DRIFT.name, start=as_of - period, end=as_of - tick)
    asked = earlier.filter((pl.col("group") == DECISION) & pl.col("alarm"))["known_at"].max()
    if not alarms:
        reason = "nothing drifted beyond what it does by chance"
    elif asked is not None:
        reason = f"{len(alarms)} alarms; a retraining was asked for at {format_instant(asked)}"  # type: ignore[arg-type]
    else:
        surest = min(alarms, key=lambda found: found.joint_p or 0.0)
        named = f"{surest.group} {surest.feature} {surest.statistic}"
        reason = f"{len(alarms)} alarms, first {named}: {surest.reason}"
    due = bool(alarms) and asked is None
    values = (float(len(alarms)), 0.0, None, None)
    return Finding(DECISION, "*", "retrain", *values, len(alarms), due, reason)


def _write(context: Context, version: str, findings: list[Finding], as_of: datetime) -> bool:
    own = {"model_version": version, "known_at": as_of, "checked_at": clock.now()}
    rows = [{**asdict(finding), **own} for finding in findings]
    frame = pl.DataFrame(rows, schema=DRIFT.schema)
    hour = as_of - timeframe_delta(context.settings.timeframe)
    return context.lake.replace(DRIFT, frame, start=hour, end=as_of)


def _log_metrics(
    context: Context, info: VersionInfo, findings: list[Finding], as_of: datetime
) -> None:
    from mlflow.entities import Metric

    stamp, day = (as_of - _EPOCH) // _MILLISECOND, (as_of - info.train_end).days
    values = {"drift_alarms": float(sum(finding.alarm for finding in findings))}
    for group in sorted({finding.group for finding in findings}):
        chances = [f.joint_p for f in findings if f.group == group and f.joint_p is not None]
        if chances:
            values[f"drift_p_{group}"] = min(chances)
    metrics = [Metric(name, value, stamp, day) for name, value in values.items()]
    context.registry.tracking.client.log_batch(info.run_id, metrics=metrics)
