"""Look after the champion before the hour is scored: moved or deleted by a person, or beyond a guardrail."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pipelines.clock import check_as_of
from pipelines.context import Context, StepReport
from pipelines.ledger import Promotion
from pipelines.ledger.books import champion_of
from pipelines.promotion.decisions import Decision, write_decisions
from pipelines.promotion.departures import IN_MLFLOW, follow_deletions
from pipelines.promotion.guardrails import (
    GUARD,
    as_rollback,
    book_breach,
    is_calibration,
    roll_back,
)
from pipelines.promotion.roles import astray, mirror_roles
from pipelines.promotion.succession import Claim, granted, succeed
from pipelines.tables import DECISIONS

STEP = "watch_champion"
_DAY = timedelta(days=1)


def watch_champion(context: Context, as_of: datetime) -> StepReport:
    """Follow an alias that was moved by hand; roll a champion back that broke a guardrail.

    Either holds from this hour on, or from the next one that no book has traded. An alias that names
    what cannot serve is put back, with the reason, and so is one that lost its version. The book of a
    version that was deleted in MLflow is retired; a champion that was is succeeded.

    Reads: the ledger, the registry, earlier decisions. Writes: the ledger (promotions, retirements,
    audit), decisions (the rows of `as_of`, where there are any), aliases and tags in MLflow.
    Re-run: finds roles and aliases in agreement and writes nothing.

    Raises
    ------
    ContractViolation
        If the registry has none of the versions that trade.
    """
    check_as_of(as_of, context.settings.timeframe)
    promotions = context.ledger.promotions()
    if not promotions:
        detail: dict[str, Any] = {"champion": None, "note": "no model is champion yet"}
        return StepReport(STEP, as_of, changed=False, detail=detail)
    decisions = _unwritten(context, promotions[-1], as_of) + follow_deletions(context, as_of)
    promotions = context.ledger.promotions()
    newest = promotions[-1]
    target, moved = context.registry.champion_alias(newest.version)
    if moved and target is not None:
        decisions += _follow(context, newest, target, as_of)
    elif not decisions:
        decisions += _repair(context, newest, target)
    if not decisions and newest == champion_of(promotions, as_of):
        decisions = _guard(context, promotions, as_of)
    changed = bool(decisions) and write_decisions(context, STEP, decisions, as_of)
    if decisions:
        mirror_roles(context, restore=any(d.outcome == "refused" for d in decisions))
    told = [{"outcome": d.outcome, "version": d.version, "reason": d.reason} for d in decisions]
    detail = {"champion": context.ledger.champion_at(as_of), "decisions": told}
    return StepReport(STEP, as_of, changed, detail)


def _unwritten(context: Context, newest: Promotion, as_of: datetime) -> list[Decision]:
    """Return the decision of a run that was killed between the ledger and its row."""
    own = newest.decided_by in (GUARD, IN_MLFLOW) and not is_calibration(newest)
    if not own or newest.effective_from < as_of:
        return []
    rows = context.lake.read(DECISIONS.name, end=newest.effective_from)
    of_it = pl.col("effective_from") == newest.effective_from
    if not rows.filter(pl.col("step") == STEP, of_it).is_empty():
        return []
    decision = granted(newest)
    return [as_rollback(decision) if newest.kind == "rollback" else decision]


def _follow(context: Context, newest: Promotion, target: str, as_of: datetime) -> list[Decision]:
    claim = Claim(
        target,
        succeeding=newest.version,
        kind="alias",
        reason=f"the alias champion was moved from version {newest.version} to {target}",
        decided_by=IN_MLFLOW,
    )
    return [succeed(context, claim, as_of)]


def _repair(context: Context, newest: Promotion, target: str | None) -> list[Decision]:
    lost = target != newest.version and context.registry.has(newest.version)
    strays = (["champion"] if lost else []) + astray(context)
    if not strays:
        return []
    reason = f"in MLflow {' and '.join(strays)} did not name whom the ledger names"
    return [Decision("repaired", newest.version, newest.version, reason, STEP)]


def _guard(context: Context, promotions: Sequence[Promotion], as_of: datetime) -> list[Decision]:
    breach = book_breach(context, promotions[-1], as_of)
    if breach is None:
        return []
    decision = roll_back(context, promotions, breach, as_of)
    if decision.outcome == "kept" and _said_today(context, decision, as_of):
        return []
    return [decision]


def _said_today(context: Context, decision: Decision, as_of: datetime) -> bool:
    """Say whether the same was decided within a day: a row an hour would tell nothing more."""
    tick = timedelta(microseconds=1)
    rows = context.lake.read(DECISIONS.name, start=as_of - _DAY, end=as_of - tick)
    same = {"step": STEP, "outcome": decision.outcome, "version": decision.version}
    return not rows.filter([pl.col(name) == value for name, value in same.items()]).is_empty()
