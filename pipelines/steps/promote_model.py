"""Decide who shall be champion, on the evidence of the day."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, get_args

import polars as pl

from evaluation.promotion.candidacy import successor
from evaluation.promotion.config import Mode
from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError
from pipelines.ledger import Promotion
from pipelines.ledger.books import champion_of
from pipelines.paired_records import rivals_of
from pipelines.promotion.candidates import Candidate, candidates
from pipelines.promotion.decisions import Decision, write_decisions
from pipelines.promotion.evidence_text import proposal_text
from pipelines.promotion.guardrails import calibration_breach, is_calibration, roll_back
from pipelines.promotion.roles import mirror_roles
from pipelines.promotion.succession import Claim, succeed
from pipelines.tables import DECISIONS, PROMOTION_GATES, DecisionOutcome

STEP = "promote_model"
MODES = get_args(Mode)


def promote_model(context: Context, as_of: datetime, mode: Mode | None = None) -> StepReport:
    """Put every challenger to the gates, and promote, propose or keep.

    The one of most evidence among those that pass all required gates becomes champion from the next
    hour (`automatic`), is proposed to a person (`approve`) or only named (`manual`). An alarm on what
    came of the champion's scores gives the role back to the one before; where nobody can take it, the
    challengers are judged all the same.

    Reads: comparisons and drift of `as_of`, the ledger, the registry, quality, features, scores,
    earlier decisions. Writes: promotion_gates and decisions (the rows of `as_of`), the ledger
    (promotions, audit), aliases and tags in MLflow.
    Re-run: an instant after which the champion has changed was decided; nothing is decided again.

    Parameters
    ----------
    context : Context
    as_of : datetime
    mode : {"automatic", "approve", "manual"}, optional
        By default `promotion.mode`.

    Raises
    ------
    ConfigError
        If the mode is not known.
    """
    check_as_of(as_of, context.settings.timeframe)
    chosen = mode or context.settings.promotion.mode
    if chosen not in MODES:
        raise ConfigError(f"mode {chosen!r} is not known", remedy=f"one of {', '.join(MODES)}")
    promotions = context.ledger.promotions()
    reign = champion_of(promotions, as_of)
    if reign is None:
        detail: dict[str, Any] = {"outcome": "kept", "note": "no model is champion yet"}
        return StepReport(STEP, as_of, changed=False, detail=detail)
    if promotions[-1] != reign and not _is_half_done(context, promotions, reign, as_of):
        mirror_roles(context)
        newest = promotions[-1]
        note = f"version {newest.version} is champion from {format_instant(newest.effective_from)}"
        detail = {"outcome": "kept", "champion": reign.version, "note": note}
        return StepReport(STEP, as_of, changed=False, detail=detail)
    breach = calibration_breach(context, reign, as_of)
    if breach is None:
        return _decide(context, reign, chosen, as_of, [])
    past = [one for one in promotions if one.effective_from <= as_of]
    decision = roll_back(context, past, breach, as_of + _step(context))
    if decision.outcome != "rolled_back":
        # Nobody before it can take over: a challenger still may.
        return _decide(context, reign, chosen, as_of, [decision])
    changed = write_decisions(context, STEP, [decision], as_of)
    mirror_roles(context)
    return StepReport(STEP, as_of, changed, _detail(reign, [decision]))


def _decide(
    context: Context, reign: Promotion, mode: Mode, as_of: datetime, before: list[Decision]
) -> StepReport:
    rivals = rivals_of(context.ledger.books(), reign, as_of)
    found = candidates(context, reign, rivals, as_of)
    changed = _write_gates(context, reign, found, as_of)
    best = successor([one.candidacy for one in found])
    decisions = before + [
        _kept(reign, one, one.why_not() or "another one has as much evidence or more")
        for one in found
        if one.candidacy is not best
    ]
    chosen = next((one for one in found if one.candidacy is best), None)
    if chosen is not None:
        decisions.append(_about(context, reign, chosen, mode, as_of))
    changed |= write_decisions(context, STEP, decisions, as_of)
    mirror_roles(context)
    detail = _detail(reign, decisions)
    if chosen is not None and decisions[-1].outcome == "proposed":
        detail["proposal"] = proposal_text(context, reign, chosen, as_of)
    return StepReport(STEP, as_of, changed, detail)


def _is_half_done(
    context: Context, promotions: Sequence[Promotion], reign: Promotion, as_of: datetime
) -> bool:
    """Say whether a run of this step for this instant promoted and was killed before it wrote why."""
    newest = promotions[-1]
    own = newest.decided_by == STEP or is_calibration(newest)
    if not own or newest.previous != reign.version:
        return False
    rows = context.lake.read(DECISIONS.name, start=as_of - _step(context), end=as_of)
    return rows.filter(pl.col("step") == STEP).is_empty()


def _about(
    context: Context, reign: Promotion, chosen: Candidate, mode: Mode, as_of: datetime
) -> Decision:
    """Decide about the one who passes every gate; promotes where the mode says so."""
    known = chosen.e_value
    told = "every required gate holds, " + (
        "without an e-value" if known is None else f"e-value {known:.4g}"
    )
    if mode == "automatic":
        claim = Claim(
            chosen.version,
            succeeding=reign.version,
            kind="evidence",
            reason=told,
            decided_by=STEP,
            evidence=chosen.evidence(),
            e_value=known,
        )
        return succeed(context, claim, as_of + _step(context))
    if mode == "manual":
        return _kept(reign, chosen, f"{told}; mode manual: promote it by hand", "ready")
    rejected = _rejected(context, reign, chosen.version, as_of)
    if rejected is None:
        return _kept(reign, chosen, f"{told}; a person is asked", "proposed")
    days = context.settings.promotion.propose_every_days
    when = f"rejected at {format_instant(rejected)}, proposed again {days:g} days after"
    return _kept(reign, chosen, f"{told}; {when}")


def _kept(
    reign: Promotion, candidate: Candidate, reason: str, outcome: DecisionOutcome = "kept"
) -> Decision:
    whom = (reign.version, candidate.version)
    return Decision(outcome, *whom, reason, STEP, evidence=candidate.e_value)


def _rejected(context: Context, reign: Promotion, version: str, as_of: datetime) -> datetime | None:
    """Return when this challenger of this champion was rejected so lately that it is not proposed."""
    since = as_of - timedelta(days=context.settings.promotion.propose_every_days)
    rows = context.lake.read(DECISIONS.name, start=since, end=as_of - timedelta(microseconds=1))
    about = {"outcome": "rejected", "version": version, "champion": reign.version}
    rows = rows.filter([pl.col(name) == value for name, value in about.items()])
    newest: datetime | None = rows["known_at"].max()  # type: ignore[assignment]
    return newest


def _write_gates(
    context: Context, reign: Promotion, found: Sequence[Candidate], as_of: datetime
) -> bool:
    frame = pl.DataFrame(
        list(_gate_rows(context, reign, found, as_of)), schema=PROMOTION_GATES.schema
    )
    hour = as_of - _step(context)
    return context.lake.replace(PROMOTION_GATES, frame, start=hour, end=as_of)


def _gate_rows(
    context: Context, reign: Promotion, found: Sequence[Candidate], as_of: datetime
) -> Iterator[dict[str, Any]]:
    required = context.settings.promotion.required
    for one in found:
        for gate in one.candidacy.gates:
            yield {
                "champion": reign.version,
                "challenger": one.version,
                "known_at": as_of,
                "gate": gate.name,
                "observed": gate.observed if math.isfinite(gate.observed) else None,
                "rule": gate.rule,
                "bound": gate.bound,
                "passed": gate.passed,
                "required": gate.name in required,
                "reason": one.reason_of(gate),
            }


def _detail(reign: Promotion, decisions: Sequence[Decision]) -> dict[str, Any]:
    last = decisions[-1] if decisions else None
    return {
        "outcome": last.outcome if last else "kept",
        "champion": reign.version,
        "version": last.version if last else None,
        "effective_from": format_instant(last.effective_from)
        if last and last.effective_from
        else None,
        "decisions": [
            {"version": one.version, "outcome": one.outcome, "reason": one.reason}
            for one in decisions
        ],
    }


def _step(context: Context) -> timedelta:
    return timeframe_delta(context.settings.timeframe)
