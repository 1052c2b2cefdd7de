"""The audit chain: every row carries the hash of the row before it, and the digest of what it is about.

A hash is sha256 over canonical JSON. Changing, removing or inserting an audit row breaks the chain
from there on; changing any row of a traded hour changes its digest, which the chain holds.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from pipelines.clock import format_instant
from pipelines.ledger.schema import audit

GENESIS = "0" * 64


def canonical(value: Any) -> str:
    """Return one text for one value: decimals in full, floats shortest, instants in UTC."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return str(value)


def digest_of(rows: Mapping[str, Iterable[Sequence[Any]]]) -> str:
    """Return the sha256 of the rows of several tables, whatever their order inside a table."""
    lines = {
        table: sorted("|".join(map(canonical, row)) for row in group)
        for table, group in rows.items()
    }
    kept = {table: group for table, group in lines.items() if group}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def hash_of(
    sequence: int, known_at: datetime, kind: str, payload: Mapping[str, Any], previous: str
) -> str:
    """Return the hash of one audit row."""
    body = [sequence, canonical(known_at), kind, payload, previous]
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def append_audit(
    connection: sa.Connection, known_at: datetime, kind: str, payload: Mapping[str, Any]
) -> None:
    """Append one row to the chain; the caller holds the ledger's lock.

    `payload` holds text, whole numbers, and mappings of them: what JSON returns as it was given.
    """
    last = connection.execute(
        sa.select(audit.c.sequence, audit.c.hash).order_by(audit.c.sequence.desc()).limit(1)
    ).one_or_none()
    sequence, previous = (last.sequence + 1, last.hash) if last else (1, GENESIS)
    connection.execute(
        sa.insert(audit).values(
            sequence=sequence,
            known_at=known_at,
            kind=kind,
            payload=dict(payload),
            previous_hash=previous,
            hash=hash_of(sequence, known_at, kind, payload, previous),
        )
    )


def chain_findings(connection: sa.Connection) -> list[str]:
    """Walk the chain from its beginning; return where it is broken, empty if it is not."""
    findings = []
    previous, expected = GENESIS, 1
    for row in connection.execute(sa.select(audit).order_by(audit.c.sequence)):
        where = f"audit row {row.sequence} ({row.kind} at {format_instant(row.known_at)})"
        if row.sequence != expected:
            findings.append(f"{where} follows row {expected - 1}: rows are missing")
        if row.previous_hash != previous:
            findings.append(f"{where} does not continue the row before it")
        if row.hash != hash_of(
            row.sequence, row.known_at, row.kind, row.payload, row.previous_hash
        ):
            findings.append(f"{where} was changed after it was written")
        previous, expected = row.hash, row.sequence + 1
    return findings
