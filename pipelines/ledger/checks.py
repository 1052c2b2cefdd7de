"""The ledger recomputed from nothing: balances, positions, fills, the audit chain, digests, trades."""

from collections import defaultdict
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from pipelines.clock import format_instant
from pipelines.ledger.audit import chain_findings
from pipelines.ledger.digests import decision_findings, digest_findings
from pipelines.ledger.gains import lot_findings
from pipelines.ledger.journal import journal_findings
from pipelines.ledger.rows import assets_of
from pipelines.ledger.schema import metadata
from serving.state import state_from_json, to_counts, to_decimal

_MOST_FINDINGS = 20

_UNBALANCED = sa.text(
    """
    SELECT entry_id, asset, sum(amount) AS amount FROM postings
    GROUP BY entry_id, asset HAVING sum(amount) <> 0 ORDER BY entry_id LIMIT :most
    """
)
_WRONG_CASH = sa.text(
    """
    SELECT b.name, h.known_at, h.cash, h.folded FROM (
        SELECT e.book_id, e.known_at, e.cash, sum(coalesce(p.moved, 0)) OVER (
            PARTITION BY e.book_id ORDER BY e.known_at) AS folded
        FROM equity e LEFT JOIN (
            SELECT book_id, known_at, sum(amount) AS moved FROM postings
            WHERE account = 'cash' GROUP BY book_id, known_at
        ) p ON p.book_id = e.book_id AND p.known_at = e.known_at
    ) h JOIN books b ON b.book_id = h.book_id
    WHERE h.cash <> h.folded ORDER BY h.known_at, b.name LIMIT :most
    """
)
_WRONG_FILLS = sa.text(
    """
    SELECT f.fill_id, f.symbol, f.known_at FROM fills f LEFT JOIN postings c
        ON c.entry_id = f.fill_id AND c.account = 'cash'
    LEFT JOIN postings i ON i.entry_id = f.fill_id AND i.account = 'inventory'
    WHERE c.amount IS DISTINCT FROM
            (CASE f.side WHEN 'buy' THEN -f.notional ELSE f.notional END) - f.fee
        OR i.amount IS DISTINCT FROM (CASE f.side WHEN 'buy' THEN f.quantity ELSE -f.quantity END)
    ORDER BY f.known_at LIMIT :most
    """
)
_HOLDINGS = sa.text(
    """
    SELECT book_id, asset, sum(amount) AS amount FROM postings
    WHERE account = 'inventory' GROUP BY book_id, asset
    """
)
_LAST_STATES = sa.text(
    """
    SELECT b.book_id, b.name, e.known_at, e.exposure, e.state FROM books b
    CROSS JOIN LATERAL (
        SELECT * FROM equity WHERE equity.book_id = b.book_id ORDER BY known_at DESC LIMIT 1) e
    """
)


def balance_findings(connection: sa.Connection) -> list[str]:
    """Return every way in which postings, fills, equity and states disagree; empty if none."""
    most = {"most": _MOST_FINDINGS}
    findings = [
        f"entry {row.entry_id} does not balance: its {row.asset} postings sum to {row.amount}"
        for row in connection.execute(_UNBALANCED, most)
    ]
    findings += [
        f"book {row.name} at {format_instant(row.known_at)}: cash {row.cash}, postings say {row.folded}"
        for row in connection.execute(_WRONG_CASH, most)
    ]
    findings += [
        f"fill {row.fill_id} of {row.symbol} at {format_instant(row.known_at)} is not what was posted"
        for row in connection.execute(_WRONG_FILLS, most)
    ]
    return findings + _position_findings(connection)


def _position_findings(connection: sa.Connection) -> list[str]:
    held: dict[UUID, dict[str, Any]] = defaultdict(dict)
    for row in connection.execute(_HOLDINGS):
        if row.amount:
            held[row.book_id][row.asset] = row.amount
    findings = []
    for row in connection.execute(_LAST_STATES):
        symbols = tuple(row.state["positions"])
        state = state_from_json(row.state, symbols)
        stated = {
            assets_of(symbol)[0]: to_decimal(quantity)
            for symbol, quantity in zip(symbols, state.quantity, strict=True)
            if quantity
        }
        where = f"book {row.name} at {format_instant(row.known_at)}"
        if stated != held[row.book_id]:
            findings.append(f"{where}: holds {stated}, postings say {held[row.book_id]}")
        value = sum(
            round(int(q) * float(close))
            for q, close in zip(state.quantity, state.last_close, strict=True)
            if q
        )
        if value != to_counts(row.exposure):
            findings.append(
                f"{where}: positions are worth {to_decimal(value)}, the row says {row.exposure}"
            )
    return findings


def all_findings(connection: sa.Connection, since: datetime | None = None) -> list[str]:
    """Return everything that is wrong with the ledger; see `Ledger.verify`."""
    return [
        *balance_findings(connection),
        *chain_findings(connection),
        *digest_findings(connection, since),
        *decision_findings(connection),
        *journal_findings(connection),
        *lot_findings(connection),
    ]


def count_rows(connection: sa.Connection) -> dict[str, int]:
    """Return how many rows every table holds."""
    counts = {}
    for name, table in metadata.tables.items():
        counts[name] = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    return counts
