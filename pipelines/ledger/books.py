"""Books, their events and their promotions, as they are read from and appended to the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from pipelines.ledger.audit import append_audit, digest_of
from pipelines.ledger.controls import Control
from pipelines.ledger.rows import id_of
from pipelines.ledger.schema import book_events, books, promotions

RETIRED, TERMS = "retired", "terms"
Kind = Literal["first", "evidence", "approval", "hand", "alias", "rollback", "succession"]
"""Why a version became champion: the first there was, promoted by evidence, by a person who was asked,
by one who was not, by an alias moved in MLflow, back again, or because the one before cannot be served."""

_BOOKS = sa.text(
    """
    SELECT b.*, r.effective_from AS retired_at FROM books b
    LEFT JOIN book_events r ON r.book_id = b.book_id AND r.kind = 'retired'
    ORDER BY b.opened_at, b.name
    """
)
# One row a book in the order of `_BOOKS`: each is asked for twice an hour.
_STANDINGS = sa.text(
    """
    SELECT b.*, r.effective_from AS retired_at, e.known_at, e.state, t.detail AS terms, c.controls,
        ARRAY(SELECT p.effective_from FROM promotions p
            WHERE p.version = b.model_version AND p.previous IS NOT NULL) AS promoted
    FROM books b
    LEFT JOIN book_events r ON r.book_id = b.book_id AND r.kind = 'retired'
    LEFT JOIN LATERAL (
        SELECT known_at, state FROM equity
        WHERE equity.book_id = b.book_id ORDER BY known_at DESC LIMIT 1) e ON true
    LEFT JOIN LATERAL (
        SELECT detail FROM book_events v
        WHERE v.book_id = b.book_id AND v.kind = 'terms'
        ORDER BY effective_from DESC, ordinal DESC LIMIT 1) t ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(detail || jsonb_build_object('effective_from', effective_from,
            'reason', reason, 'decided_by', decided_by) ORDER BY effective_from, ordinal) AS controls
        FROM book_events v WHERE v.book_id = b.book_id AND v.kind = 'control') c ON true
    ORDER BY b.opened_at, b.name
    """
)


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
    """From `effective_from` on, `version` is the champion.

    `kind` and `evidence` are None of promotions written at schema 0002 and before.
    """

    effective_from: datetime
    version: str
    previous: str | None
    reason: str
    decided_by: str
    kind: Kind | None
    evidence: dict[str, Any] | None


@dataclass(frozen=True)
class Standing:
    """Where a book stands: newest traded hour and state (None before the first), terms, controls.

    `promoted` are the instants from which its model became champion in another one's place.
    """

    book: Book
    traded_at: datetime | None
    state: dict[str, Any] | None
    terms: dict[str, Any] | None
    controls: tuple[Control, ...] = ()
    promoted: tuple[datetime, ...] = ()

    @property
    def walked_to(self) -> datetime:
        """The newest hour this book need not walk any more."""
        return self.traded_at or self.book.opened_at


def read_books(connection: sa.Connection) -> list[Book]:
    """Return every book ever opened, by opening and name."""
    return [_book(row) for row in connection.execute(_BOOKS)]


def read_standings(connection: sa.Connection) -> list[Standing]:
    """Return where every book stands, in the order of `read_books`."""
    return [
        Standing(
            _book(row),
            row.known_at,
            row.state,
            row.terms,
            tuple(Control.from_json(stored) for stored in row.controls or ()),
            tuple(row.promoted),
        )
        for row in connection.execute(_STANDINGS)
    ]


def _book(row: sa.Row[Any]) -> Book:
    return Book(**{key: getattr(row, key) for key in Book.__dataclass_fields__})


def read_promotions(connection: sa.Connection) -> list[Promotion]:
    """Return all promotions, oldest first."""
    query = sa.select(promotions).order_by(promotions.c.effective_from)
    keys = Promotion.__dataclass_fields__
    return [
        Promotion(**{key: getattr(row, key) for key in keys}) for row in connection.execute(query)
    ]


def champion_of(history: Sequence[Promotion], as_of: datetime) -> Promotion | None:
    """Return the promotion in effect at `as_of`; None before the first."""
    past = [p for p in history if p.effective_from <= as_of]
    return past[-1] if past else None


def insert_book(connection: sa.Connection, book: Book, reason: str, decided_by: str) -> None:
    """Append a book and its audit row."""
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


def add_event(
    connection: sa.Connection,
    book: Book,
    effective_from: datetime,
    kind: str,
    detail: Mapping[str, Any],
    reason: str,
    decided_by: str,
) -> None:
    """Append a decision about a book and its audit row, which holds the digest of the detail.

    The caller holds the ledger's lock. Of several of one kind for one instant the last one counts.
    """
    same = (book_events.c.book_id == book.book_id, book_events.c.kind == kind)
    ordinal = connection.scalar(
        sa.select(sa.func.count())
        .select_from(book_events)
        .where(*same, book_events.c.effective_from == effective_from)
    )
    place = (ordinal,) if ordinal else ()
    connection.execute(
        sa.insert(book_events).values(
            event_id=id_of(book.book_id, kind, effective_from, *place),
            ordinal=ordinal,
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
