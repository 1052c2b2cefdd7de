"""Is every row what the audit chain was told: digests of traded hours, decisions, books, promotions.

A digest covers the columns its hour was written with. A column that came later does not count in
hours of before, as long as it is null there.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from pipelines.clock import format_instant
from pipelines.ledger.audit import digest_of
from pipelines.ledger.promoting import told_of
from pipelines.ledger.schema import (
    FIRST,
    HOURLY_TABLES,
    audit,
    book_events,
    books,
    equity,
    promotions,
)
from pipelines.ledger.shadows import OPENED, read_shadows
from pipelines.ledger.shadows import told_of as told_of_shadow

HOUR_TRADED = "hour_traded"
_HOURS_AT_ONCE = 500
# By hour and book: the digest, and the schema it was made with.
_Told = dict[datetime, dict[str, tuple[str, str]]]


def digest_findings(connection: sa.Connection, since: datetime | None = None) -> list[str]:
    """Return every traded hour (after `since`) whose rows are not those the chain was told of."""
    names = {row.book_id: row.name for row in connection.execute(sa.select(books))}
    told = _told(connection, since)
    written = sa.select(equity.c.known_at).distinct()
    if since is not None:
        written = written.where(equity.c.known_at > since)
    hours = sorted(set(connection.scalars(written)) | set(told))
    findings: list[str] = []
    for at in range(0, len(hours), _HOURS_AT_ONCE):
        chunk = hours[at : at + _HOURS_AT_ONCE]
        found = _digests(connection, names, told, chunk[0], chunk[-1])
        for hour in sorted(set(chunk) | set(found)):
            expected = {name: digest for name, (digest, _) in told.get(hour, {}).items()}
            findings += _differences(hour, expected, found.get(hour, {}))
    return findings


def _told(connection: sa.Connection, since: datetime | None) -> _Told:
    """Return what the chain was told: by hour and book the digest and the schema it was made with."""
    query = sa.select(audit.c.known_at, audit.c.payload).where(audit.c.kind == HOUR_TRADED)
    if since is not None:
        query = query.where(audit.c.known_at > since)
    told: _Told = defaultdict(dict)
    for row in connection.execute(query):
        schema = row.payload.get("schema", FIRST)
        told[row.known_at] |= {
            name: (digest, schema) for name, digest in row.payload["digests"].items()
        }
    return told


def _digests(
    connection: sa.Connection,
    names: Mapping[UUID, str],
    told: _Told,
    first: datetime,
    last: datetime,
) -> dict[datetime, dict[str, str]]:
    rows: dict[datetime, dict[str, dict[str, list[Any]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for table in HOURLY_TABLES:
        query = sa.select(table).where(table.c.known_at.between(first, last))
        for row in connection.execute(query):
            name = names[row.book_id]
            schema = told.get(row.known_at, {}).get(name, ("", FIRST))[1]
            rows[row.known_at][name][table.name].append(as_of_schema(table, tuple(row), schema))
    return {
        hour: {name: digest_of(tables) for name, tables in group.items()}
        for hour, group in rows.items()
    }


def as_of_schema(table: sa.Table, row: tuple[Any, ...], schema: str) -> tuple[Any, ...]:
    """Return the row without the nulls of columns that came after `schema`."""
    later = _later_places(table, schema)
    if not later:
        return row
    return tuple(v for place, v in enumerate(row) if place not in later or v is not None)


@cache
def _later_places(table: sa.Table, schema: str) -> frozenset[int]:
    columns = enumerate(table.columns)
    return frozenset(place for place, c in columns if c.info.get("since", FIRST) > schema)


def _differences(
    hour: datetime, expected: Mapping[str, str], found: Mapping[str, str]
) -> list[str]:
    return [
        f"book {name}: the rows of {format_instant(hour)} are not those that were traded"
        for name in sorted(set(expected) | set(found))
        if expected.get(name) != found.get(name)
    ]


def decision_findings(connection: sa.Connection) -> list[str]:
    """Return every book, decision about a book and promotion that is not as the chain was told."""
    told = Counter(
        (row.kind, row.known_at, digest_of({"payload": [(row.payload,)]}))
        for row in connection.execute(sa.select(audit).where(audit.c.kind != HOUR_TRADED))
    )
    found = Counter(
        (kind, known_at, digest_of({"payload": [(payload,)]}))
        for kind, known_at, payload in _decisions(connection)
    )
    return [
        f"{kind} at {format_instant(at)}: the {where} says what the {other} does not"
        for more, where, other in (
            (told - found, "audit chain", "table"),
            (found - told, "table", "audit chain"),
        )
        for kind, at, _ in sorted(more)
    ]


def _decisions(connection: sa.Connection) -> list[tuple[str, datetime, dict[str, Any]]]:
    """Return what `append_audit` was told when each of them was made."""
    by_id = {row.book_id: row for row in connection.execute(sa.select(books))}
    # The reason of an opening and who decided it stand in the chain alone.
    opened = {
        row.payload["book"]: row.payload
        for row in connection.execute(sa.select(audit).where(audit.c.kind == "book_opened"))
    }
    found = []
    for book in by_id.values():
        said = opened.get(book.name, {})
        payload = {
            "book": book.name,
            "strategy": book.strategy,
            "model_version": book.model_version,
            "initial_cash": str(book.initial_cash),
            "reason": said.get("reason"),
            "decided_by": said.get("decided_by"),
        }
        found.append(("book_opened", book.opened_at, payload))
    for event in connection.execute(sa.select(book_events)):
        payload = {
            "book": by_id[event.book_id].name,
            "detail": digest_of({event.kind: [(event.detail,)]}),
            "reason": event.reason,
            "decided_by": event.decided_by,
        }
        found.append((f"book_{event.kind}", event.effective_from, payload))
    for row in connection.execute(sa.select(promotions)):
        found.append(("promotion", row.effective_from, told_of(row._mapping)))
    for shadow in read_shadows(connection):
        found.append((OPENED, shadow.opened_at, told_of_shadow(shadow)))
    return found
