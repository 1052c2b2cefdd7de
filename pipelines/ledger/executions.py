"""The fills of books as they happened: what lots, the journal and their checks are folded from."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from pipelines.ledger.lots import LotFill

# In a bar an order of the close before fills ahead of any exit of that bar; `ordinal` says so exactly,
# and is null in hours written before there was one.
_EXECUTIONS = sa.text(
    """
    SELECT book_id, symbol, fill_id, known_at, kind, side, quantity, price, notional, fee, realised, ordinal
    FROM fills WHERE CAST(:book AS uuid) IS NULL OR book_id = :book
    ORDER BY book_id, symbol, known_at, ordinal, kind <> 'market'
    """
)


class Execution(NamedTuple):
    """One fill of one book and symbol; `quantity` is signed, positive was bought."""

    fill_id: UUID
    known_at: datetime
    kind: str
    quantity: Decimal
    price: float
    notional: Decimal
    fee: Decimal
    realised: Decimal
    ordinal: int | None

    def as_lot_fill(self) -> LotFill:
        """Return what `lots.realise` needs of it."""
        return LotFill(str(self.fill_id), self.known_at, self.quantity, self.notional, self.fee)


def read_executions(
    connection: sa.Connection, book_id: UUID | None = None
) -> dict[tuple[UUID, str], list[Execution]]:
    """Return the fills of one book, or all, by book and symbol, in the order in which they happened."""
    found: dict[tuple[UUID, str], list[Execution]] = defaultdict(list)
    for row in connection.execute(_EXECUTIONS, {"book": book_id}):
        quantity = row.quantity if row.side == "buy" else -row.quantity
        found[row.book_id, row.symbol].append(
            Execution(
                row.fill_id,
                row.known_at,
                row.kind,
                quantity,
                row.price,
                row.notional,
                row.fee,
                row.realised,
                row.ordinal,
            )
        )
    return found


def round_trips(executions: list[Execution]) -> Iterator[list[Execution]]:
    """Yield the fills of every round trip of one symbol that is over: from flat to flat."""
    held, trip = Decimal(0), list[Execution]()
    for execution in executions:
        trip.append(execution)
        held += execution.quantity
        if not held:
            yield trip
            trip = []
