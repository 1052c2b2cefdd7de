"""Realised gains by tax lot: the report, and the check that lots and average cost agree."""

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from pipelines.clock import format_instant
from pipelines.ledger.executions import read_executions
from pipelines.ledger.lots import Lot, realise

COLUMNS = (
    "acquired_at",
    "disposed_at",
    "symbol",
    "side",
    "quantity",
    "proceeds",
    "cost",
    "gain",
    "holding_days",
    "lot_id",
    "disposal_id",
)
_STATES = sa.text(
    """
    SELECT b.book_id, b.name, e.state FROM books b LEFT JOIN LATERAL (
        SELECT state FROM equity WHERE equity.book_id = b.book_id
        ORDER BY known_at DESC LIMIT 1) e ON true
    """
)


def read_gains(
    connection: sa.Connection, book_id: UUID, year: int | None = None
) -> list[dict[str, Any]]:
    """Return what a book disposed of, first in first out, by disposal; see `COLUMNS`.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    book_id : UUID
    year : int, optional
        Of the disposal, UTC; by default all. Lots are matched over the whole history either way.

    Returns
    -------
    list of dict
        Amounts are decimals with eight places in the quote currency, fees included; funding is not a
        disposal and not in it.
    """
    rows = []
    for (_, symbol), executions in read_executions(connection, book_id).items():
        gains, _ = realise(execution.as_lot_fill() for execution in executions)
        for gain in gains:
            if year is None or gain.disposed_at.year == year:
                known = {name: getattr(gain, name) for name in COLUMNS if name != "symbol"}
                rows.append({"symbol": symbol, **known})
    rows.sort(key=lambda row: (row["disposed_at"], row["symbol"], row["acquired_at"]))
    return [{name: row[name] for name in COLUMNS} for row in rows]


def lot_findings(connection: sa.Connection) -> list[str]:
    """Return every book and symbol whose lots do not add up to the realised gains and the state.

    Lots leave out what is still held at its cost; so does the average cost of fills and state. Both
    must come to the same cash: gains less the cost of open lots is realised less the state's cost.
    """
    executions = read_executions(connection)
    names, costs, held = {}, {}, {}
    for row in connection.execute(_STATES):
        names[row.book_id] = row.name
        for symbol, position in (row.state or {"positions": {}})["positions"].items():
            costs[row.book_id, symbol] = Decimal(position["cost"])
            held[row.book_id, symbol] = Decimal(position["quantity"])
    findings = []
    for key, fills in executions.items():
        gains, lots = realise(fill.as_lot_fill() for fill in fills)
        by_lots = sum((g.gain for g in gains), Decimal(0)) - sum(map(_signed_cost, lots))
        by_average = sum((f.realised for f in fills), Decimal(0)) - costs.get(key, Decimal(0))
        quantity = sum((lot.quantity for lot in lots), Decimal(0))
        where = f"book {names[key[0]]}: lots of {key[1]}"
        if by_lots != by_average:
            findings.append(f"{where} come to {by_lots}, fills and state to {by_average}")
        if quantity != held.get(key, Decimal(0)):
            findings.append(f"{where} hold {quantity}, the state {held.get(key, Decimal(0))}")
    return findings


def _signed_cost(lot: Lot) -> Decimal:
    return lot.amount if lot.quantity > 0 else -lot.amount


def as_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `read_gains` with amounts and instants as text."""
    amounts = {key: format(row[key], "f") for key in ("quantity", "proceeds", "cost", "gain")}
    instants = {key: format_instant(row[key]) for key in ("acquired_at", "disposed_at")}
    return {**row, **amounts, **instants}


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of `read_gains` as CSV text with a header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(as_text, rows))
    return text.getvalue()
