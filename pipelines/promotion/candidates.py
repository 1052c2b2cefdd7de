"""What every challenger has shown: gathered from comparisons, books, trainings and data, judged by gates."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from evaluation.drift.judgement import NOT_MEASURED
from evaluation.gates import Gate
from evaluation.metrics.drawdown import max_drawdown
from evaluation.promotion.candidacy import Candidacy, candidacy, live_deflated_sharpe
from pipelines.clock import timeframe_delta
from pipelines.context import Context
from pipelines.drift_judgement import judge_version
from pipelines.errors import ContractViolation
from pipelines.ledger import Promotion
from pipelines.paired_records import Rival, after, book_record
from pipelines.promotion.rescoring import largest_score_difference
from pipelines.quality.refusals import hours_without_their_bars, refused_hours
from pipelines.tables import COMPARISONS
from pipelines.tracking.plan import feature_set_of
from pipelines.tracking.registry import VersionInfo
from serving.limits import bars_per_year

NOT_ASKED = "not asked while another gate fails"
_NAN = float("nan")
_SLOW = ("no_drift", "reproducible")


class Look(NamedTuple):
    """The comparison of one challenger at the instant of a decision, by measure; rows of `comparisons`."""

    net_return: Mapping[str, Any]
    log_loss: Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A challenger, what it has shown, and why where a number is not there.

    Attributes
    ----------
    rival : Rival
    look : Look
    candidacy : Candidacy
    reasons : mapping
        By gate, what is said instead of a number.
    """

    rival: Rival
    look: Look
    candidacy: Candidacy
    reasons: Mapping[str, str]

    @property
    def version(self) -> str:
        """The model version."""
        return self.candidacy.version

    @property
    def e_value(self) -> float | None:
        """The evidence; None where there is none."""
        return _plain(self.candidacy.evidence)

    def reason_of(self, gate: Gate) -> str:
        """Return what a gate says, in words."""
        if gate.name in self.reasons:
            return self.reasons[gate.name]
        return f"{gate.meaning}: {gate.observed:.4g}, wanted {gate.rule} {gate.bound:.4g}"

    def why_not(self) -> str:
        """Return why it is not promoted; empty where every required gate holds."""
        gates = {gate.name: gate for gate in self.candidacy.gates}
        said = (self.reason_of(gates[name]) for name in self.candidacy.failed)
        return "; ".join(reason for reason in said if reason != NOT_ASKED)

    def evidence(self) -> dict[str, Any]:
        """Return every number behind it, as plain JSON types."""
        row = self.look.net_return
        told = ("mean_difference", "lower", "upper", "bars", "blocks", "level", "p_bootstrap")
        return {
            "gates": {gate.name: _plain(gate.observed) for gate in self.candidacy.gates},
            **{name: row[name] for name in told},
        }


def candidates(
    context: Context, reign: Promotion, rivals: list[Rival], as_of: datetime
) -> list[Candidate]:
    """Return every challenger of a reign with its gates, in the order of arrival.

    What costs most is asked only where all else holds.

    Reads: comparisons of `as_of`, the ledger, the trainings' runs, quality; where it comes to that
    also features, scores and drift references.
    """
    looks = _looks(context, reign, as_of)
    quality = _refused(context, as_of)
    return [
        _candidate(context, rival, looks[version], quality, as_of)
        for rival in rivals
        if (version := str(rival.book.model_version)) in looks
    ]


def _looks(context: Context, reign: Promotion, as_of: datetime) -> dict[str, Look]:
    hour = as_of - timeframe_delta(context.settings.timeframe)
    rows = context.lake.read(COMPARISONS.name, start=hour, end=as_of)
    rows = rows.filter(pl.col("champion") == reign.version)
    by_version = rows.partition_by("challenger", as_dict=True)
    found = {}
    for (version,), frame in by_version.items():
        by_measure = {row["measure"]: row for row in frame.iter_rows(named=True)}
        if "net_return" in by_measure:
            found[str(version)] = Look(by_measure["net_return"], by_measure["log_loss"])
    return found


def _refused(context: Context, as_of: datetime) -> float:
    settings = context.settings
    start = as_of - timedelta(hours=settings.promotion.quality_hours)
    span = (context.lake, settings.venue, start, as_of)
    return float(len({*refused_hours(*span), *hours_without_their_bars(*span)}))


def _candidate(
    context: Context, rival: Rival, look: Look, quality: float, as_of: datetime
) -> Candidate:
    config, version = context.settings.promotion, str(rival.book.model_version)
    bound = 2.0 / look.net_return["level"]
    observed, reasons = _from_comparison(look)
    observed |= _from_book(context, rival, as_of) | {"data_quality": quality}
    try:
        info = context.registry.version_info(version)
    except ContractViolation as refusal:
        reasons |= dict.fromkeys(("overfitting", "calibrated", "no_leak"), str(refusal))
        reasons |= {"feature_set": str(refusal)} | dict.fromkeys(_SLOW, NOT_ASKED)
        return Candidate(rival, look, candidacy(version, observed, bound, config), reasons)
    observed |= _from_training(context, info)
    observed["feature_set"] = float(feature_set_of(context) != info.feature_set)
    cheap = candidacy(version, observed, bound, config)
    if set(cheap.failed) - set(_SLOW):
        reasons |= dict.fromkeys(_SLOW, NOT_ASKED)
        return Candidate(rival, look, cheap, reasons)
    asked: dict[str, Callable[[], float]] = {
        "no_drift": lambda: _drift_alarms(context, info, as_of),
        "reproducible": lambda: largest_score_difference(context, version, as_of),
    }
    for name, ask in asked.items():
        try:
            observed[name] = ask()
        except ContractViolation as refusal:
            reasons[name] = str(refusal)
    return Candidate(rival, look, candidacy(version, observed, bound, config), reasons)


def _from_comparison(look: Look) -> tuple[dict[str, float], dict[str, str]]:
    returns, losses = look
    observed = {"bars": float(returns["bars"])}
    reasons = {}
    if returns["e_value"] is None:
        reasons["evidence"] = returns["reason"]
    else:
        observed["evidence"] = returns["e_value"]
    if losses["e_value_worse"] is not None:
        observed["log_loss"] = losses["e_value_worse"]
    elif losses["bars"]:
        # Too few blocks for a bet: nobody has shown that it foresees worse.
        observed["log_loss"] = 1.0
    else:
        reasons["log_loss"] = losses["reason"]
    return observed, reasons


def _from_book(context: Context, rival: Rival, as_of: datetime) -> dict[str, float]:
    record = after(book_record(context, rival.book.name, as_of), rival.since)
    path = np.exp(np.cumsum(np.concatenate([[0.0], record.value])))
    years = bars_per_year(timeframe_delta(context.settings.timeframe))
    return {
        "trades": float(context.ledger.fills(rival.book.name, rival.since, as_of)),
        "drawdown": abs(max_drawdown(path)),
        "deflated_sharpe": live_deflated_sharpe(np.expm1(record.value), years, rival.met),
    }


def _from_training(context: Context, info: VersionInfo) -> dict[str, float]:
    """Return what the training showed; NaN where it did not."""
    run = context.registry.tracking.client.get_run(info.run_id)
    metrics = run.data.metrics
    return {
        "overfitting": metrics.get("overfitting", _NAN),
        "calibrated": metrics.get("calibration_error", _NAN),
        "no_leak": metrics.get("overlaps", _NAN) + ("unfit" in run.data.tags),
    }


def _drift_alarms(context: Context, info: VersionInfo, as_of: datetime) -> float:
    findings, _, _ = judge_version(context, info, as_of)
    alarms = sum(finding.alarm for finding in findings)
    unknown = [f"{one.group}: {one.reason}" for one in findings if one.statistic == NOT_MEASURED]
    if unknown and not alarms:
        raise ContractViolation(
            f"drift was not measured in all it is asked of: {'; '.join(unknown)}",
            remedy="`hourglass check-drift` says the same of the champion",
        )
    return float(alarms)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
