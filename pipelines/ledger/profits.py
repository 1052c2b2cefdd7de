"""What books' profit and loss is made of, exact: fills, funding, holdings at their mark, equity."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import polars as pl
import sqlalchemy as sa

from evaluation.attribution import AMOUNT
from pipelines.ledger.rows import id_of
from serving.state import to_counts, to_decimal

# In the order in which they happened; see `executions`. Every order was decided at its `known_at`.
_FILLS = sa.text(
    """
    SELECT b.name, f.symbol, f.known_at, o.known_at AS signal_at,
        CASE f.side WHEN 'buy' THEN f.quantity ELSE -f.quantity END AS quantity, f.notional, f.fee
    FROM fills f JOIN orders o USING (order_id) JOIN books b ON b.book_id = f.book_id
    WHERE f.book_id = ANY(:books) AND f.known_at <= :end
    ORDER BY b.name, f.symbol, f.known_at, f.ordinal, f.kind <> 'market'
    """
)
_FUNDING = sa.text(
    """
    SELECT entry_id, book_id, known_at, amount FROM postings
    WHERE kind = 'funding' AND account = 'funding' AND book_id = ANY(:books) AND known_at <= :end
    ORDER BY book_id, known_at, entry_id
    """
)
_MARKS = sa.text(
    """
    SELECT b.book_id, b.name, b.initial_cash, e.equity, e.state->'positions' AS positions
    FROM books b LEFT JOIN LATERAL (
        SELECT equity, state FROM equity WHERE equity.book_id = b.book_id AND known_at <= :end
        ORDER BY known_at DESC LIMIT 1) e ON true
    WHERE b.book_id = ANY(:books) ORDER BY b.name
    """
)
_PLACE = {"book": pl.String(), "symbol": pl.String()}
_INSTANT = pl.Datetime("us", "UTC")


class ProfitRecords(NamedTuple):
    """What `evaluation.attribution.round_trips` folds, in the order of its parameters."""

    fills: pl.DataFrame
    funding: pl.DataFrame
    holdings: pl.DataFrame
    equity: pl.DataFrame


def read_profits(connection: sa.Connection, books: Iterable[UUID], end: datetime) -> ProfitRecords:
    """Return what these books paid and were paid up to `end`, and what they held at the mark then."""
    asked = {"books": list(books), "end": end}
    marks = connection.execute(_MARKS, asked).all()
    fills = _frame(
        connection.execute(_FILLS, asked),
        {
            **_PLACE,
            "known_at": _INSTANT,
            "signal_at": _INSTANT,
            **dict.fromkeys(("quantity", "notional", "fee"), AMOUNT),
        },
    )
    names = {mark.book_id: mark.name for mark in marks}
    funding = _funding(connection.execute(_FUNDING, asked).all(), names, _traded(fills))
    equity = [
        (m.name, m.initial_cash, m.initial_cash if m.equity is None else m.equity) for m in marks
    ]
    return ProfitRecords(
        fills,
        _frame(funding, {**_PLACE, "known_at": _INSTANT, "paid": AMOUNT}),
        _frame(
            (row for mark in marks for row in _held(mark.name, mark.positions or {})),
            {**_PLACE, "quantity": AMOUNT, "value": AMOUNT},
        ),
        _frame(equity, {"book": pl.String(), "initial": AMOUNT, "equity": AMOUNT}),
    )


def _traded(fills: pl.DataFrame) -> dict[str, list[str]]:
    symbols = defaultdict(list)
    for book, symbol in fills.select("book", "symbol").unique(maintain_order=True).rows():
        symbols[book].append(symbol)
    return symbols


def _funding(
    rows: Iterable[Any], names: Mapping[UUID, str], traded: Mapping[str, list[str]]
) -> list[tuple[Any, ...]]:
    """Return payments with their symbol, which only the id of their entry knows."""
    known: dict[UUID, str] = {}
    looked_up = set()
    found = []
    for row in rows:
        book = names[row.book_id]
        if (book, row.known_at) not in looked_up:
            looked_up.add((book, row.known_at))
            known |= {
                id_of(row.book_id, symbol, row.known_at, "funding"): symbol
                for symbol in traded.get(book, ())
            }
        found.append((book, known.get(row.entry_id), row.known_at, row.amount))
    return found


def _held(book: str, positions: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    for symbol, position in sorted(positions.items()):
        quantity = Decimal(position["quantity"])
        if quantity:
            value = to_decimal(round(to_counts(quantity) * float(position["last_close"])))
            yield book, symbol, quantity, value


def _frame(rows: Iterable[Any], schema: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([tuple(row) for row in rows], schema=dict(schema), orient="row")
