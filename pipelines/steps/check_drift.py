"""Ask once a day whether the market is still the one that the champion was trained on."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from evaluation.drift.judgement import Finding, not_measured
from evaluation.drift.reference import DAILY
from pipelines import clock
from pipelines.clock import check_as_of, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.drift_judgement import judge_version
from pipelines.drift_page import write_drift_page
from pipelines.errors import ContractViolation
from pipelines.retraining_requests import DECISION, decide
from pipelines.tables import DRIFT
from pipelines.tracking.registry import VersionInfo

REFERENCE = "reference"
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def check_drift(context: Context, as_of: datetime) -> StepReport:
    """Hold the last window against the champion's training, and decide whether to ask for another.

    The features one by one and together, the predictions, what came of them, and what they promise of
    themselves; with cuts that alarm on `drift.level` of the days on which nothing drifted. A reference
    that is missing or cannot be read is a row with its reason, not a failure.

    Reads: features, quality, scores, bars, the ledger's promotions, the champion's drift reference,
    earlier rows of drift.
    Writes: drift (the rows of `as_of` but the pulse's), metrics on the champion's MLflow run,
    `<home>/reports/drift/<day>.html`.
    Re-run: finds the same rows and page.
    """
    check_as_of(as_of, context.settings.timeframe)
    version = context.ledger.champion_at(as_of)
    if version is None:
        detail: dict[str, Any] = {"alarms": 0, "note": "no model is champion yet"}
        return StepReport("check_drift", as_of, changed=False, detail=detail)
    info, reference, counts = None, None, None
    try:
        info = context.registry.version_info(version)
        findings, reference, counts = judge_version(context, info, as_of)
    except ContractViolation as refusal:
        findings = [not_measured(REFERENCE, str(refusal))]
    alarms = [finding for finding in findings if finding.alarm]
    decision = decide(context, DECISION, alarms, as_of)
    changed = _write(context, version, [*findings, decision], as_of)
    if info is not None:
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


def _write(context: Context, version: str, findings: list[Finding], as_of: datetime) -> bool:
    own = {"model_version": version, "known_at": as_of, "checked_at": clock.now()}
    rows = [{**asdict(finding), **own} for finding in findings]
    frame = pl.DataFrame(rows, schema=DRIFT.schema)
    hour = as_of - timeframe_delta(context.settings.timeframe)
    where = {"group": [*DAILY, REFERENCE, DECISION]}
    return context.lake.replace(DRIFT, frame, start=hour, end=as_of, where=where)


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
