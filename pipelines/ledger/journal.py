"""The journal of trades: why each was entered and left; and the check that it is what was filled."""

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from pipelines.clock import format_instant
from pipelines.ledger.executions import Execution, read_executions, round_trips
from pipelines.ledger.rows import id_of
from pipelines.ledger.schema import books, trades

_JOURNAL = sa.text(
    """
    SELECT t.*, s.desired_weight, s.sigma, o.target_weight, o.kind AS entry_kind, o.cause AS entry_cause
    FROM trades t LEFT JOIN signals s
        ON s.book_id = t.book_id AND s.symbol = t.symbol AND s.known_at = t.signal_at
    LEFT JOIN orders o ON o.book_id = t.book_id AND o.symbol = t.symbol
        AND o.known_at = t.signal_at AND o.kind IN ('market', 'limit', 'stop')
    WHERE t.book_id = :book ORDER BY t.known_at DESC, t.symbol LIMIT :most
    """
)
_FUNDING = sa.text(
    "SELECT entry_id, amount FROM postings WHERE kind = 'funding' AND account = 'funding'"
)
_LARGEST_RELATIVE_ERROR = 1e-9


def read_journal(connection: sa.Connection, book_id: UUID, most: int) -> list[dict[str, Any]]:
    """Return a book's newest round trips, newest first, as plain JSON types.

    Returns
    -------
    list of dict
        ``{"entered_at", "exited_at", "symbol", "side", "bars_held", "quantity", "entry_price",
        "exit_price", "invested", "realised", "return", "fees", "funding", "mae", "mfe",
        "r_multiple", "why_in": {...}, "why_out": {"kind", "cause", "reason"}}``. `why_in` is the
        signal: `edge` [log return], `desired_weight`, `target_weight` after the rules, `sigma`, the
        order's `kind` and the `cause` that shaped it; null where the strategy states none.
    """
    return [_entry(row) for row in connection.execute(_JOURNAL, {"book": book_id, "most": most})]


def _entry(row: Any) -> dict[str, Any]:
    amounts = ("quantity", "invested", "realised", "fees", "funding")
    return {
        "entered_at": format_instant(row.entered_at),
        "exited_at": format_instant(row.known_at),
        "symbol": row.symbol,
        "side": row.side,
        "bars_held": row.bars_held,
        "entry_price": row.entry_price,
        "exit_price": row.exit_price,
        **{key: float(getattr(row, key)) for key in amounts},
        "return": float(row.realised / row.invested),
        "mae": row.mae,
        "mfe": row.mfe,
        "r_multiple": row.r_multiple,
        "why_in": {
            "edge": row.edge,
            "desired_weight": row.desired_weight,
            "target_weight": row.target_weight,
            "sigma": row.sigma,
            "kind": row.entry_kind,
            "cause": row.entry_cause,
        },
        "why_out": {"kind": row.exit_kind, "cause": row.exit_cause, "reason": row.exit_reason},
    }


def journal_findings(connection: sa.Connection) -> list[str]:
    """Return every round trip of the fills that the journal does not tell, or tells otherwise.

    Those that began before there was a journal are passed over.
    """
    names = {row.book_id: row.name for row in connection.execute(sa.select(books))}
    funding = {row.entry_id: row.amount for row in connection.execute(_FUNDING)}
    told: dict[tuple[UUID, str], dict[datetime, Any]] = defaultdict(dict)
    for row in connection.execute(sa.select(trades)):
        told[row.book_id, row.symbol][row.known_at] = row
    findings = []
    executions = read_executions(connection)
    for key in sorted(told.keys() | executions.keys(), key=str):
        rows = told.get(key, {})
        for trip in round_trips(executions.get(key, [])):
            row = rows.pop(trip[-1].known_at, None)
            if any(execution.ordinal is None for execution in trip):
                continue
            where = (
                f"book {names[key[0]]}: trade of {key[1]} until {format_instant(trip[-1].known_at)}"
            )
            if row is None:
                findings.append(f"{where} is not in the journal")
            else:
                findings += [f"{where}: {wrong}" for wrong in _differences(row, trip, funding)]
        findings += [
            f"book {names[key[0]]}: the journal has a trade of {key[1]} until {format_instant(at)} "
            "that the fills have not"
            for at in sorted(rows)
        ]
    return findings


def _differences(row: Any, trip: list[Execution], funding: dict[UUID, Decimal]) -> list[str]:
    """Return in which columns a trade's row differs from its fills."""
    step = row.entered_at - row.signal_at
    sign = 1 if trip[0].quantity > 0 else -1
    entries = [fill for fill in trip if fill.quantity * sign > 0]
    exits = [fill for fill in trip if fill.quantity * sign < 0]
    quantity = sum(abs(fill.quantity) for fill in entries)
    invested = sum(fill.notional for fill in entries)
    returned = sum(fill.notional for fill in exits)
    fees = sum(fill.fee for fill in trip)
    hours = (row.entered_at + step * i for i in range(row.bars_held))
    paid = sum(
        funding.get(id_of(row.book_id, row.symbol, hour, "funding"), Decimal(0)) for hour in hours
    )
    expected = {
        "side": "long" if sign > 0 else "short",
        "entered_at": trip[0].known_at,
        "bars_held": (trip[-1].known_at - trip[0].known_at) // step,
        "quantity": quantity,
        "invested": invested,
        "fees": fees,
        "funding": paid,
        "realised": sign * (returned - invested) - fees - paid,
        "exit_kind": trip[-1].kind,
    }
    wrong = [
        f"{name} is {getattr(row, name)}, its fills say {value}"
        for name, value in expected.items()
        if getattr(row, name) != value
    ]
    for name, total in (("entry_price", invested), ("exit_price", returned)):
        average = float(total / quantity)
        if abs(getattr(row, name) - average) > _LARGEST_RELATIVE_ERROR * average:
            wrong.append(f"{name} is {getattr(row, name)}, its fills say {average}")
    return wrong
