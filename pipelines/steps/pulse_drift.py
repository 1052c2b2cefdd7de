"""Look every hour whether the newest bar lies where the champion's training hardly ever was."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from evaluation.drift.judgement import Finding, judge_pulse, not_measured
from evaluation.drift.pulse import Pulse
from evaluation.drift.reference import PULSE
from pipelines import clock
from pipelines.clock import check_as_of, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.quality.refusals import without_refused
from pipelines.retraining_requests import decide
from pipelines.tables import DRIFT
from pipelines.tracking.drift_reference import read_drift_reference


def pulse_drift(context: Context, as_of: datetime) -> StepReport:
    """Hold the newest bar against the champion's training, and ask for another where it is far off.

    One number: the share of the bar's values, over features and symbols, that lie in the outermost bins
    of the training, with a cut that any hour of a day without drift exceeds on a sixth of `drift.level`
    of the days. What cannot be measured (a reference without a pulse, a refused hour, features of
    another set) is a row with its reason, not a failure.

    Reads: features and quality of the hour, the ledger's promotions, the champion's drift reference; at
    an alarm, earlier rows of drift.
    Writes: drift (the pulse of `as_of`, and at an alarm whether it asks for a retraining).
    Re-run: finds the same rows.
    """
    check_as_of(as_of, context.settings.timeframe)
    version = context.ledger.champion_at(as_of)
    if version is None:
        nothing: dict[str, Any] = {
            "alarms": 0,
            "retrain": False,
            "reason": "no model is champion yet",
        }
        return StepReport("pulse_drift", as_of, changed=False, detail=nothing)
    found = _look(context, version, as_of)
    rows = [found, *([decide(context, PULSE, [found], as_of)] if found.alarm else [])]
    detail = {
        "champion": version,
        "observed": found.observed,
        "cut": found.cut,
        "alarms": int(found.alarm),
        "retrain": found.alarm and rows[-1].alarm,
        "reason": rows[-1].reason,
    }
    return StepReport("pulse_drift", as_of, _write(context, version, rows, as_of), detail)


def _look(context: Context, version: str, as_of: datetime) -> Finding:
    feature_set, pulse = context.once(PULSE, version, lambda: _pulse_of(context, version))
    if isinstance(pulse, str):
        return not_measured(PULSE, pulse)
    at_hand = context.lake.metadata("features").get("feature_set")
    if at_hand != feature_set:
        return not_measured(PULSE, f"the features at hand are set {at_hand}, not {feature_set}")
    settings = context.settings
    hour = as_of - timeframe_delta(settings.timeframe)
    rows = context.lake.read("features", start=hour, end=as_of, symbols=settings.universe)
    rows = rows.filter(pl.col("venue") == settings.venue)
    kept = without_refused(context.lake, rows)
    if kept.is_empty():
        failed = "failed their check" if rows.height else "were not built"
        return not_measured(PULSE, f"the features of the hour {failed}")
    X = kept.select(pulse.names).to_numpy().astype(np.float32)
    return judge_pulse(pulse, X, level=settings.drift.level)


def _pulse_of(context: Context, version: str) -> tuple[str, Pulse | str]:
    """Return a version's feature set and its pulse, or why it has none."""
    try:
        info = context.registry.version_info(version)
        reference = read_drift_reference(context, info)
    except ContractViolation as refusal:
        return "", str(refusal)
    return info.feature_set, reference.pulse or reference.missing[PULSE]


def _write(context: Context, version: str, findings: list[Finding], as_of: datetime) -> bool:
    own = {"model_version": version, "known_at": as_of, "checked_at": clock.now()}
    frame = pl.DataFrame([{**asdict(one), **own} for one in findings], schema=DRIFT.schema)
    hour = as_of - timeframe_delta(context.settings.timeframe)
    return context.lake.replace(DRIFT, frame, start=hour, end=as_of, where={"group": [PULSE]})
