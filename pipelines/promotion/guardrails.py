"""What ends a reign: its guardrails as read from ledger and drift, and the way back to the one before."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from evaluation.promotion.guard import Breach, breaches
from pipelines.clock import timeframe_delta
from pipelines.context import Context
from pipelines.ledger import Promotion
from pipelines.promotion.decisions import Decision
from pipelines.promotion.roles import book_of
from pipelines.promotion.succession import Claim, succeed
from pipelines.tables import DRIFT

GUARD = "guard"
_OUTCOMES, _CALIBRATION = "outcomes", "calibration"


def book_breach(context: Context, reign: Promotion, as_of: datetime) -> Breach | None:
    """Return the first guardrail that the champion's book has broken before `as_of`; None if it holds.

    Only closes of its reign count, the one it began from included, and none known at `as_of`: that
    bar has not been traded when the guard is asked.
    """
    book, step = (
        book_of(context, reign.version),
        timeframe_delta(context.settings.timeframe),
    )
    if book is None:
        return None
    config = context.settings.promotion.guard
    equity = context.ledger.curve(book.name, reign.effective_from - step, as_of - step)
    bars = max(round(timedelta(hours=config.loss_hours) / step), 1)
    found = breaches(equity, bars, config)
    return found[0] if found else None


def calibration_breach(context: Context, reign: Promotion, as_of: datetime) -> Breach | None:
    """Return the alarm on what came of the champion's scores, where `check_drift` raised one at `as_of`."""
    if not context.settings.promotion.guard.calibration:
        return None
    hour = as_of - timeframe_delta(context.settings.timeframe)
    rows = context.lake.read(DRIFT.name, start=hour, end=as_of)
    rows = rows.filter(
        pl.col("alarm"), pl.col("group") == _OUTCOMES, pl.col("model_version") == reign.version
    )
    if rows.is_empty():
        return None
    surest = rows.sort("joint_p").row(0, named=True)
    return Breach(f"{_CALIBRATION} ({surest['statistic']})", surest["observed"], surest["cut"])


def is_calibration(promotion: Promotion) -> bool:
    """Say whether a promotion is a rollback because of `calibration_breach`."""
    told = promotion.evidence or {}
    return promotion.decided_by == GUARD and str(told.get("guard")).startswith(_CALIBRATION)


def roll_back(
    context: Context,
    promotions: Sequence[Promotion],
    breach: Breach,
    not_before: datetime,
) -> Decision:
    """Give the role back to the champion before, or say why nobody can take it.

    Never to one from whom a breach took it: two bad models would throw it to each other.
    """
    newest = promotions[-1]
    said = f"{breach.as_text()} in the reign of version {newest.version}"
    if newest.previous is None or newest.kind == "rollback":
        why = (
            "there was no champion before it"
            if newest.previous is None
            else f"version {newest.previous} was itself rolled back"
        )
        return Decision("kept", newest.version, newest.version, f"{said}; {why}", GUARD)
    claim = Claim(
        newest.previous,
        succeeding=newest.version,
        kind="rollback",
        reason=said,
        decided_by=GUARD,
        evidence={"guard": breach.guard, "observed": breach.observed, "bound": breach.bound},
    )
    answer = succeed(context, claim, not_before)
    if answer.outcome == "promoted":
        return as_rollback(answer)
    return Decision("kept", newest.version, newest.version, answer.reason, GUARD)


def as_rollback(decision: Decision) -> Decision:
    """Return a promotion of the champion before, by a guardrail, as what became of the one it took over from."""
    return replace(decision, outcome="rolled_back", version=decision.champion)
