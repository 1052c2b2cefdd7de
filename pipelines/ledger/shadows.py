"""Models that are scored without a book: written down when they become that, for as long as they are among the newest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pipelines.ledger.audit import append_audit
from pipelines.ledger.books import Book
from pipelines.ledger.rows import id_of
from pipelines.ledger.schema import shadows

OPENED = "shadow_opened"


@dataclass(frozen=True)
class Shadow:
    """From the first bar after `opened_at` on, `version` is scored, and trades nothing."""

    version: str
    opened_at: datetime
    reason: str
    decided_by: str


def insert_shadow(connection: sa.Connection, shadow: Shadow) -> bool:
    """Append a shadow and its audit row; False if the version is one already. The caller holds the lock."""
    if any(standing.version == shadow.version for standing in read_shadows(connection)):
        return False
    values = vars(shadow)
    key = id_of("shadow", shadow.version)
    connection.execute(sa.insert(shadows).values(shadow_id=key, **values))
    append_audit(connection, shadow.opened_at, OPENED, told_of(shadow))
    return True


def told_of(shadow: Shadow) -> dict[str, str]:
    """Return what the audit chain is told of a shadow."""
    return {key: getattr(shadow, key) for key in ("version", "reason", "decided_by")}


def read_shadows(connection: sa.Connection) -> list[Shadow]:
    """Return every version that ever was a shadow, by when it became one."""
    keys = Shadow.__dataclass_fields__
    found = connection.execute(sa.select(shadows))
    standing = [Shadow(**{key: getattr(row, key) for key in keys}) for row in found]
    return sorted(standing, key=lambda shadow: (shadow.opened_at, int(shadow.version)))


def shadows_at(
    history: Sequence[Shadow], books: Sequence[Book], as_of: datetime, most: int
) -> list[Shadow]:
    """Return who is a shadow at `as_of`: the newest `most` that have no book by then, oldest first."""
    with_book = {book.model_version for book in books if book.opened_at < as_of}
    known = [s for s in history if s.opened_at < as_of and s.version not in with_book]
    return known[-most:] if most else []
