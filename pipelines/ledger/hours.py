"""One hour of the ledger: what it starts from is checked, what it brings is written, or nothing is."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg import sql
from psycopg.types.json import Jsonb

from pipelines.clock import format_instant
from pipelines.errors import ContractViolation
from pipelines.ledger.audit import append_audit, digest_of
from pipelines.ledger.books import TERMS, Book, Standing, add_event, read_standings
from pipelines.ledger.digests import HOUR_TRADED
from pipelines.ledger.rows import BookHour, assets_of, rows_of
from pipelines.ledger.schema import HEAD, HOURLY_TABLES

_FOLD = sa.text(
    """
    SELECT p.book_id, p.account, p.asset, sum(p.amount) AS amount, max(p.known_at) AS until
    FROM postings p
    JOIN unnest(CAST(:books AS uuid[]), CAST(:since AS timestamptz[])) AS s(book_id, since)
        ON p.book_id = s.book_id AND p.known_at > s.since
    WHERE p.account IN ('cash', 'inventory') GROUP BY p.book_id, p.account, p.asset
    """
)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Folds:
    """Cash and inventory of every book by its postings.

    What was read before is kept: postings are append-only, so only newer ones are added to it.
    """

    def __init__(self) -> None:
        self._folds: dict[UUID, tuple[datetime, dict[tuple[str, str], Decimal]]] = {}

    def check(self, connection: sa.Connection, standings: Sequence[Standing]) -> None:
        """Refuse books whose cash or positions differ from the fold of their postings.

        Raises
        ------
        ContractViolation
            Naming the book, the account and both amounts.
        """
        traded = [s for s in standings if s.state is not None]
        since = [self._folds.get(s.book.book_id, (_LONG_AGO, {}))[0] for s in traded]
        ids = [s.book.book_id for s in traded]
        folds = {
            i: (at, dict(self._folds.get(i, (at, {}))[1])) for i, at in zip(ids, since, strict=True)
        }
        for row in connection.execute(_FOLD, {"books": ids, "since": since}):
            at, amounts = folds[row.book_id]
            key = (row.account, row.asset)
            amounts[key] = amounts.get(key, Decimal(0)) + row.amount
            folds[row.book_id] = (max(at, row.until), amounts)
        for standing in traded:
            _compare(standing, folds[standing.book.book_id][1])
        self._folds.update(folds)


class Hour:
    """One open transaction in which an hour of several books is read, checked and written."""

    def __init__(self, folds: Folds, connection: sa.Connection) -> None:
        self._folds = folds
        self._connection = connection

    def standings(self) -> list[Standing]:
        """Return where every book stands, by opening and name."""
        return read_standings(self._connection)

    def check(self, standings: Sequence[Standing]) -> None:
        """Refuse to trade books whose cash or positions are not the fold of their postings."""
        self._folds.check(self._connection, standings)

    def set_terms(
        self, book: Book, effective_from: datetime, terms: Mapping[str, Any], reason: str
    ) -> None:
        """Record the terms (symbols, filters, costs, limits) under which a book trades from now on."""
        add_event(self._connection, book, effective_from, TERMS, terms, reason, "configuration")

    def write(self, hours: Sequence[BookHour]) -> None:
        """Write the rows of one traded hour and its digests."""
        digests = {}
        gathered: dict[str, list[tuple[Any, ...]]] = {t.name: [] for t in HOURLY_TABLES}
        for hour in hours:
            rows = rows_of(hour)
            digests[hour.name] = digest_of(rows)
            for name, group in rows.items():
                gathered[name] += group
        for table in HOURLY_TABLES:
            _copy(self._connection, table, gathered[table.name])
        payload = {"digests": digests, "schema": HEAD}
        append_audit(self._connection, hours[0].known_at, HOUR_TRADED, payload)


def _copy(connection: sa.Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, table.columns.keys()))
    )
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row([Jsonb(v) if isinstance(v, dict) else v for v in row])


def _compare(standing: Standing, folded: Mapping[tuple[str, str], Decimal]) -> None:
    state = standing.state or {}
    stated = {
        ("inventory", assets_of(symbol)[0]): Decimal(position["quantity"])
        for symbol, position in state["positions"].items()
    }
    currency = assets_of(next(iter(state["positions"])))[1]
    stated["cash", currency] = Decimal(state["money"]["cash"])
    for key in stated.keys() | folded.keys():
        held, posted = stated.get(key, Decimal(0)), folded.get(key, Decimal(0))
        if held != posted:
            raise ContractViolation(
                f"book {standing.book.name}: {key[0]} of {key[1]} is {held} in the state of "
                f"{format_instant(standing.walked_to)} and {posted} by its postings; nothing was traded",
                remedy="restore the ledger from a backup; `hourglass doctor` lists all findings",
            )
