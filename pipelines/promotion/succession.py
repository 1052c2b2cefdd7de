"""Make a version champion, or say why it cannot be: the one way there for evidence, people and aliases."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.clock import format_instant, timeframe_delta
from pipelines.context import Context
from pipelines.errors import ContractViolation
from pipelines.ledger import Promotion
from pipelines.ledger.books import Kind
from pipelines.promotion.admission import open_book
from pipelines.promotion.decisions import Decision
from pipelines.promotion.roles import book_of, next_hour, why_it_cannot_serve


@dataclass(frozen=True)
class Claim:
    """That a version shall be champion.

    Attributes
    ----------
    version : str
    succeeding : str
        The champion it shall take the place of.
    kind : Kind
    reason, decided_by : str
    evidence : mapping or None
        Numbers behind it, plain JSON types.
    e_value : float or None
    """

    version: str
    succeeding: str
    kind: Kind
    reason: str
    decided_by: str
    evidence: Mapping[str, Any] | None = None
    e_value: float | None = None


def succeed(context: Context, claim: Claim, not_before: datetime) -> Decision:
    """Promote from the first hour that nobody has traded; what cannot serve, or came late, is refused.

    Of two claims at once on one champion's place the ledger grants one. If the hour is traded meanwhile,
    the next one is claimed. A claim that was granted before, by a run that was killed right after, is
    found granted.
    """
    newest = context.ledger.promotions()[-1]
    if _is_of(newest, claim):
        return granted(newest, claim.e_value)
    hour = next_hour(context, not_before)
    refusal = why_it_cannot_serve(context, claim.version, hour)
    if refusal is None and claim.version == claim.succeeding:
        refusal = f"version {claim.version} is champion already"
    if refusal is not None:
        return _refused(claim, refusal)
    if book_of(context, claim.version) is None:
        # A shadow, or a model whose book a kill left out: it trades from the hour in which it serves.
        step = timeframe_delta(context.settings.timeframe)
        open_book(context, claim.version, hour - step, claim.reason, claim.decided_by)
    try:
        context.ledger.promote(
            claim.version,
            effective_from=hour,
            kind=claim.kind,
            reason=claim.reason,
            decided_by=claim.decided_by,
            evidence=claim.evidence,
            succeeding=claim.succeeding,
        )
    except ContractViolation as outrun:
        standing = context.ledger.promotions()[-1]
        if standing == newest and next_hour(context, not_before) > hour:
            return succeed(context, claim, not_before)
        return _refused(claim, str(outrun))
    return granted(context.ledger.promotions()[-1], claim.e_value)


def granted(promotion: Promotion, e_value: float | None = None) -> Decision:
    """Return the decision that a promotion is."""
    return Decision(
        "promoted",
        promotion.previous or "",
        promotion.version,
        f"{promotion.reason}; it serves from {format_instant(promotion.effective_from)}",
        promotion.decided_by,
        effective_from=promotion.effective_from,
        evidence=e_value,
    )


def _is_of(promotion: Promotion, claim: Claim) -> bool:
    found = (promotion.version, promotion.previous, promotion.kind, promotion.reason)
    return found == (claim.version, claim.succeeding, claim.kind, claim.reason)


def _refused(claim: Claim, why: str) -> Decision:
    reason = f"{claim.reason}; {why}"
    whom = (claim.succeeding, claim.version)
    return Decision("refused", *whom, reason, claim.decided_by, evidence=claim.e_value)
