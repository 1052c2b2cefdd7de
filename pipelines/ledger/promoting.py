"""Write who becomes champion: one at a time, never back in time, and only in the place of whom one saw."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.clock import format_instant
from pipelines.errors import ContractViolation
from pipelines.ledger.audit import append_audit, digest_of
from pipelines.ledger.books import Kind, Promotion, read_promotions
from pipelines.ledger.rows import id_of
from pipelines.ledger.schema import equity, promotions


def promote(
    connection: sa.Connection,
    version: str,
    effective_from: datetime,
    *,
    kind: Kind,
    reason: str,
    decided_by: str,
    evidence: Mapping[str, Any] | None = None,
    succeeding: str | None = None,
) -> bool:
    """Append a promotion and its audit row; see `Ledger.promote`. The caller holds the lock."""
    standing = read_promotions(connection)
    if any(p.version == version and p.effective_from == effective_from for p in standing):
        return False
    newest = standing[-1] if standing else None
    if newest and kind == "first":
        return False
    _refuse(version, effective_from, newest, succeeding)
    if newest and newest.version == version:
        return False
    _refuse_the_past(version, effective_from, newest_hour(connection))
    values = {
        "effective_from": effective_from,
        "version": version,
        "previous": newest.version if newest else None,
        "reason": reason,
        "decided_by": decided_by,
        "kind": kind,
        "evidence": None if evidence is None else dict(evidence),
    }
    key = id_of("promotion", effective_from, version)
    # The chain is told what was stored: JSONB has no negative zero, for one.
    stored = connection.execute(
        sa.insert(promotions).values(promotion_id=key, **values).returning(promotions)
    ).one()
    append_audit(connection, effective_from, "promotion", told_of(stored._mapping))
    return True


def newest_hour(connection: sa.Connection) -> datetime | None:
    """Return the newest hour any book has traded."""
    newest: datetime | None = connection.scalar(sa.select(sa.func.max(equity.c.known_at)))
    return newest


def told_of(promotion: Mapping[str, Any] | sa.RowMapping) -> dict[str, Any]:
    """Return what the audit chain is told of a promotion, of those at schema 0002 and before too."""
    told = {key: promotion[key] for key in ("version", "previous", "reason", "decided_by")}
    if promotion["kind"] is None:
        return told
    return {
        **told,
        "kind": promotion["kind"],
        "evidence": digest_of({"evidence": [(promotion["evidence"],)]}),
    }


def _refuse(
    version: str, effective_from: datetime, newest: Promotion | None, succeeding: str | None
) -> None:
    if newest is None:
        return
    if succeeding is not None and newest.version != succeeding:
        raise ContractViolation(
            f"version {version} was to succeed {succeeding}, but {newest.version} is champion since "
            f"{format_instant(newest.effective_from)}; nothing was promoted",
            remedy="compare it with the new champion",
        )
    if effective_from <= newest.effective_from:
        raise ContractViolation(
            f"promotion of {version} from {format_instant(effective_from)} is not after "
            f"that of {newest.version} from {format_instant(newest.effective_from)}",
            remedy="promote from a later instant",
        )


def _refuse_the_past(version: str, effective_from: datetime, traded: datetime | None) -> None:
    if traded is not None and effective_from <= traded:
        raise ContractViolation(
            f"promotion of {version} from {format_instant(effective_from)}: that hour was traded, the "
            f"newest is {format_instant(traded)}",
            remedy="promote from a later instant",
        )
