"""What the ledger says of its books, for people and machines."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from pipelines.clock import format_instant
from pipelines.ledger.audit import chain_findings
from pipelines.ledger.books import Book, Promotion, champion_of, read_promotions, read_standings
from pipelines.ledger.checks import balance_findings
from pipelines.ledger.controls import Control, is_halted, mode_at

_COUNTS = sa.text(
    """
    SELECT b.book_id, e.equity, e.cash, e.state,
        (SELECT count(*) FROM orders o WHERE o.book_id = b.book_id AND o.known_at <= :as_of) AS orders,
        (SELECT count(*) FROM fills f WHERE f.book_id = b.book_id AND f.known_at <= :as_of) AS fills,
        (SELECT min(known_at) FROM equity n
            WHERE n.book_id = b.book_id AND n.known_at > :as_of) AS next_hour
    FROM books b LEFT JOIN LATERAL (
        SELECT equity, cash, state FROM equity WHERE equity.book_id = b.book_id
            AND known_at <= :as_of ORDER BY known_at DESC LIMIT 1) e ON true
    """
)


def describe_ledger(connection: sa.Connection, as_of: datetime) -> dict[str, Any]:
    """Return champion, books and health as things stood at `as_of`; see `Ledger.status`."""
    found = {row.book_id: row for row in connection.execute(_COUNTS, {"as_of": as_of})}
    champion = champion_of(read_promotions(connection), as_of)
    opened = [s for s in read_standings(connection) if s.book.opened_at <= as_of]
    return {
        "champion": champion
        and {"version": champion.version, "since": format_instant(champion.effective_from)},
        "books": [
            _describe(s.book, found[s.book.book_id], _role(s.book, champion, as_of), s.controls)
            for s in opened
        ],
        "ledger": {
            "balanced": not balance_findings(connection),
            "audit_chain": not chain_findings(connection),
        },
    }


def _role(book: Book, champion: Promotion | None, as_of: datetime) -> str:
    if book.retired_at is not None and as_of > book.retired_at:
        return "retired"
    if book.strategy != "model":
        return "baseline"
    if champion and book.model_version == champion.version:
        return "champion"
    return "previous" if champion and book.model_version == champion.previous else "challenger"


def _describe(book: Book, row: Any, role: str, controls: Sequence[Control]) -> dict[str, Any]:
    positions = []
    for symbol, position in sorted((row.state or {"positions": {}})["positions"].items()):
        quantity = Decimal(position["quantity"])
        if quantity:
            positions.append(
                {
                    "symbol": symbol,
                    "quantity": float(quantity),
                    "entry": float(Decimal(position["cost"]) / quantity),
                    "stop": float(position["stop"]) or None,
                }
            )
    return {
        "book": book.name,
        "role": role,
        "model_version": book.model_version,
        "mode": mode_at(controls, row.next_hour),
        "halted": is_halted(row.state),
        "equity": float(book.initial_cash if row.equity is None else row.equity),
        "cash": float(book.initial_cash if row.cash is None else row.cash),
        "orders": row.orders,
        "fills": row.fills,
        "positions": positions,
    }
