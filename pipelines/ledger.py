"""The paper ledger: books, their hours, promotions, and the audit of all of it. Append-only.

Every hour of all books is one transaction under the ledger's lock, so two schedulers by mistake
write each hour once. Positions and cash are folds over postings; before an hour is traded they are
checked against the engine state it starts from.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg import sql

from pipelines.clock import format_instant
from pipelines.errors import ContractViolation, SourceUnavailable
from pipelines.ledger_audit import append_audit, chain_findings, digest_of
from pipelines.ledger_checks import HOUR_TRADED, all_findings, balance_findings
from pipelines.ledger_migration import lock_ledger, migrate
from pipelines.ledger_rows import BookHour, assets_of, id_of, rows_of
from pipelines.ledger_schema import HOURLY_TABLES, book_events, books, equity, promotions
from serving.books import STRATEGIES
from serving.state import to_counts, to_decimal

RETIRED, TERMS = "retired", "terms"

_BOOKS = sa.text(
    """
    SELECT b.*, r.effective_from AS retired_at FROM books b
    LEFT JOIN book_events r ON r.book_id = b.book_id AND r.kind = 'retired'
    ORDER BY b.opened_at, b.name
    """
)
_NEWEST = sa.text(
    """
    SELECT b.book_id, e.known_at, e.state, t.detail AS terms FROM books b
    LEFT JOIN LATERAL (
        SELECT known_at, state FROM equity
        WHERE equity.book_id = b.book_id ORDER BY known_at DESC LIMIT 1) e ON true
    LEFT JOIN LATERAL (
        SELECT detail FROM book_events v
        WHERE v.book_id = b.book_id AND v.kind = 'terms' ORDER BY effective_from DESC LIMIT 1) t ON true
    """
)
_FOLD = sa.text(
    """
    SELECT p.book_id, p.account, p.asset, sum(p.amount) AS amount, max(p.known_at) AS until
    FROM postings p
    JOIN unnest(CAST(:books AS uuid[]), CAST(:since AS timestamptz[])) AS s(book_id, since)
        ON p.book_id = s.book_id AND p.known_at > s.since
    WHERE p.account IN ('cash', 'inventory') GROUP BY p.book_id, p.account, p.asset
    """
)
_COUNTS = sa.text(
    """
    SELECT b.book_id, e.equity, e.cash, e.state,
        (SELECT count(*) FROM orders o WHERE o.book_id = b.book_id AND o.known_at <= :as_of) AS orders,
        (SELECT count(*) FROM fills f WHERE f.book_id = b.book_id AND f.known_at <= :as_of) AS fills
    FROM books b LEFT JOIN LATERAL (
        SELECT equity, cash, state FROM equity WHERE equity.book_id = b.book_id
            AND known_at <= :as_of ORDER BY known_at DESC LIMIT 1) e ON true
    """
)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Book:
    """One paper account. It trades the bars with `opened_at < known_at <= retired_at`."""

    book_id: UUID
    name: str
    strategy: str
    model_version: str | None
    opened_at: datetime
    initial_cash: Decimal
    retired_at: datetime | None = None

    def is_live(self, as_of: datetime) -> bool:
        """Say whether the book trades the bar known at `as_of`."""
        return self.opened_at < as_of and (self.retired_at is None or as_of <= self.retired_at)


@dataclass(frozen=True)
class Promotion:
    """From `effective_from` on, `version` is the champion."""

    effective_from: datetime
    version: str
    previous: str | None
    reason: str
    decided_by: str


@dataclass(frozen=True)
class Standing:
    """Where a book stands: its newest traded hour and state (None before the first), its terms."""

    book: Book
    traded_at: datetime | None
    state: dict[str, Any] | None
    terms: dict[str, Any] | None

    @property
    def walked_to(self) -> datetime:
        """The newest hour this book need not walk any more."""
        return self.traded_at or self.book.opened_at


class Hour:
    """One open transaction in which an hour of several books is read, checked and written."""

    def __init__(self, ledger: "Ledger", connection: sa.Connection) -> None:
        self._ledger = ledger
        self._connection = connection

    def standings(self) -> list[Standing]:
        """Return where every book stands, by opening and name."""
        return _standings(self._connection)

    def check(self, standings: Sequence[Standing]) -> None:
        """Refuse to trade books whose cash or positions are not the fold of their postings."""
        self._ledger.check_folds(self._connection, standings)

    def set_terms(
        self, book: Book, effective_from: datetime, terms: Mapping[str, Any], reason: str
    ) -> None:
        """Record the terms (symbols, filters, costs, limits) under which a book trades from now on."""
        _add_event(self._connection, book, effective_from, TERMS, terms, reason, "configuration")

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
        append_audit(self._connection, hours[0].known_at, HOUR_TRADED, {"digests": digests})


class Ledger:
    """The ledger of one PostgreSQL database; migrates on construction.

    Raises
    ------
    SourceUnavailable
        If the database does not answer.
    ContractViolation
        If it was written by a newer version.
    """

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, pool_size=2, pool_pre_ping=True)
        self._folds: dict[UUID, tuple[datetime, dict[tuple[str, str], Decimal]]] = {}
        with _answers():
            migrate(self._engine)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def open_book(
        self,
        name: str,
        *,
        strategy: str,
        model_version: str | None = None,
        opened_at: datetime,
        initial_cash: float,
        reason: str,
        decided_by: str,
    ) -> Book:
        """Open a book, or return it if it stands: the first bar it trades is known after `opened_at`.

        Raises
        ------
        ContractViolation
            If a book of this name was opened otherwise, or the strategy is not known.
        """
        if strategy not in STRATEGIES or (strategy == "model") != (model_version is not None):
            raise ContractViolation(
                f"book {name}: strategy {strategy!r} with model version {model_version!r}",
                remedy=f"strategies are {', '.join(STRATEGIES)}; only a model has a version",
            )
        cash = to_decimal(to_counts(initial_cash))
        wanted = Book(id_of("book", name), name, strategy, model_version, opened_at, cash)
        with self._write() as connection:
            standing = next((b for b in _books(connection) if b.name == name), None)
            if standing is None:
                _insert_book(connection, wanted, reason, decided_by)
                return wanted
        same = ("strategy", "model_version", "opened_at", "initial_cash")
        if any(getattr(standing, key) != getattr(wanted, key) for key in same):
            raise ContractViolation(
                f"book {name} was opened as {standing}, not as {wanted}",
                remedy="give the new book another name",
            )
        return standing

    def retire_book(self, name: str, *, at: datetime, reason: str, decided_by: str) -> bool:
        """Let the bar known at `at` be the last the book trades; False if it is retired already."""
        with self._write() as connection:
            book = next((b for b in _books(connection) if b.name == name), None)
            if book is None:
                raise ContractViolation(f"book {name} does not exist", remedy="`hourglass status`")
            if book.retired_at is not None:
                return False
            _add_event(connection, book, at, RETIRED, {}, reason, decided_by)
            return True

    def books(self) -> list[Book]:
        """Return every book ever opened, by opening and name."""
        with self._read() as connection:
            return _books(connection)

    def live_books(self, as_of: datetime) -> list[Book]:
        """Return the books that trade the bar known at `as_of`."""
        return [book for book in self.books() if book.is_live(as_of)]

    def promote(
        self, version: str, *, effective_from: datetime, reason: str, decided_by: str
    ) -> bool:
        """Make `version` the champion from an instant on; False if it is that from then on already.

        Raises
        ------
        ContractViolation
            If the instant is not after the newest promotion: the past is not rewritten.
        """
        with self._write() as connection:
            standing = _promotions(connection)
            if any(p.version == version and p.effective_from == effective_from for p in standing):
                return False
            newest = standing[-1] if standing else None
            if newest and effective_from <= newest.effective_from:
                raise ContractViolation(
                    f"promotion of {version} from {format_instant(effective_from)} is not after "
                    f"that of {newest.version} from {format_instant(newest.effective_from)}",
                    remedy="promote from a later instant",
                )
            if newest and newest.version == version:
                return False
            values = {
                "effective_from": effective_from,
                "version": version,
                "previous": newest.version if newest else None,
                "reason": reason,
                "decided_by": decided_by,
            }
            key = id_of("promotion", effective_from, version)
            connection.execute(sa.insert(promotions).values(promotion_id=key, **values))
            payload = {k: v for k, v in values.items() if k != "effective_from"}
            append_audit(connection, effective_from, "promotion", payload)
            return True

    def promotions(self) -> list[Promotion]:
        """Return all promotions, oldest first."""
        with self._read() as connection:
            return _promotions(connection)

    def champion_at(self, as_of: datetime) -> str | None:
        """Return the version whose role was champion at `as_of`; None before the first promotion."""
        promotion = _champion(self.promotions(), as_of)
        return promotion.version if promotion else None

    def last_traded_at(self) -> datetime | None:
        """Return the newest hour any book has traded."""
        with self._read() as connection:
            newest: datetime | None = connection.scalar(sa.select(sa.func.max(equity.c.known_at)))
        return newest

    def standings(self) -> list[Standing]:
        """Return where every book stands."""
        with self._read() as connection:
            return _standings(connection)

    @contextmanager
    def hour(self) -> Iterator[Hour]:
        """Open the transaction of one hour, alone: all of it is written, or nothing."""
        with self._write() as connection:
            yield Hour(self, connection)

    def check_folds(self, connection: sa.Connection, standings: Sequence[Standing]) -> None:
        """Refuse books whose cash or positions differ from the fold of their postings.

        The fold of what was read before is kept: postings are append-only, so only newer ones are
        added to it.

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

    def status(self, as_of: datetime) -> dict[str, Any]:
        """Return champion, books and health as plain JSON types, as things stood at `as_of`.

        ``{"champion": {"version", "since"} or None, "books": [{"book", "role", "model_version",
        "equity", "cash", "orders", "fills", "positions": [{"symbol", "quantity", "entry", "stop"}]}],
        "ledger": {"balanced", "audit_chain"}}``; `entry` is the average cost with fees, `stop` is
        null where there is none.
        """
        with self._read() as connection:
            found = {row.book_id: row for row in connection.execute(_COUNTS, {"as_of": as_of})}
            history = [p for p in _promotions(connection) if p.effective_from <= as_of]
            opened = [b for b in _books(connection) if b.opened_at <= as_of]
            health = {
                "balanced": not balance_findings(connection),
                "audit_chain": not chain_findings(connection),
            }
        champion = history[-1] if history else None
        return {
            "champion": champion
            and {"version": champion.version, "since": format_instant(champion.effective_from)},
            "books": [_describe(b, found[b.book_id], _role(b, champion, as_of)) for b in opened],
            "ledger": health,
        }

    def verify(self) -> list[str]:
        """Recompute balances, positions, the audit chain and every hour's digest; return what is wrong."""
        with self._read() as connection:
            return all_findings(connection)

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with _answers(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with _answers(), self._engine.begin() as connection:
            lock_ledger(connection)
            yield connection


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        first_line = str(error.orig).strip().splitlines()[0]
        raise SourceUnavailable(
            f"the ledger's database does not answer: {first_line}",
            remedy="start it, then run the same command again: the hour was not written",
        ) from error


def _books(connection: sa.Connection) -> list[Book]:
    keys = Book.__dataclass_fields__
    return [Book(**{key: getattr(row, key) for key in keys}) for row in connection.execute(_BOOKS)]


def _standings(connection: sa.Connection) -> list[Standing]:
    newest = {row.book_id: row for row in connection.execute(_NEWEST)}
    found = []
    for book in _books(connection):
        row = newest[book.book_id]
        found.append(Standing(book, row.known_at, row.state, row.terms))
    return found


def _promotions(connection: sa.Connection) -> list[Promotion]:
    query = sa.select(promotions).order_by(promotions.c.effective_from)
    keys = Promotion.__dataclass_fields__
    return [
        Promotion(**{key: getattr(row, key) for key in keys}) for row in connection.execute(query)
    ]


def _champion(history: Sequence[Promotion], as_of: datetime) -> Promotion | None:
    past = [p for p in history if p.effective_from <= as_of]
    return past[-1] if past else None


def _insert_book(connection: sa.Connection, book: Book, reason: str, decided_by: str) -> None:
    keys = ("book_id", "name", "strategy", "model_version", "opened_at", "initial_cash")
    connection.execute(sa.insert(books).values({key: getattr(book, key) for key in keys}))
    payload = {
        "book": book.name,
        "strategy": book.strategy,
        "model_version": book.model_version,
        "initial_cash": str(book.initial_cash),
        "reason": reason,
        "decided_by": decided_by,
    }
    append_audit(connection, book.opened_at, "book_opened", payload)


def _add_event(
    connection: sa.Connection,
    book: Book,
    effective_from: datetime,
    kind: str,
    detail: Mapping[str, Any],
    reason: str,
    decided_by: str,
) -> None:
    connection.execute(
        sa.insert(book_events).values(
            event_id=id_of(book.book_id, kind, effective_from),
            book_id=book.book_id,
            effective_from=effective_from,
            kind=kind,
            detail=dict(detail),
            reason=reason,
            decided_by=decided_by,
        )
    )
    payload = {
        "book": book.name,
        "detail": digest_of({kind: [(detail,)]}),
        "reason": reason,
        "decided_by": decided_by,
    }
    append_audit(connection, effective_from, f"book_{kind}", payload)


def _copy(connection: sa.Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    from psycopg.types.json import Jsonb

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


def _role(book: Book, champion: Promotion | None, as_of: datetime) -> str:
    if book.retired_at is not None and as_of > book.retired_at:
        return "retired"
    if book.strategy != "model":
        return "baseline"
    if champion and book.model_version == champion.version:
        return "champion"
    return "previous" if champion and book.model_version == champion.previous else "challenger"


def _describe(book: Book, row: Any, role: str) -> dict[str, Any]:
    positions = []
    for symbol, position in (row.state or {"positions": {}})["positions"].items():
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
        "equity": float(book.initial_cash if row.equity is None else row.equity),
        "cash": float(book.initial_cash if row.cash is None else row.cash),
        "orders": row.orders,
        "fills": row.fills,
        "positions": positions,
    }
