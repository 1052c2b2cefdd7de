"""All rows of the ledger, out of and into its tables: one transaction either way."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from psycopg import sql

from pipelines.errors import ContractViolation
from pipelines.ledger.checks import all_findings
from pipelines.ledger.schema import FIRST, audit, metadata

# What holds foreign keys comes after what they point to.
TABLES = tuple(metadata.sorted_tables)
_NAMED = 3


def tables_of(schema: str) -> set[str]:
    """Return the names of the tables a ledger of this revision has."""
    return {table.name for table in TABLES if table.info.get("since", FIRST) <= schema}


def columns_of(table: str) -> list[str]:
    """Return a table's columns in their order."""
    return list(metadata.tables[table].columns.keys())


class Snapshot:
    """The ledger at one instant, whatever is written meanwhile: a repeatable-read transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def rows(self, table: str) -> Iterator[bytes]:
        """Yield the rows of a table in PostgreSQL's text format, one line a row."""
        statement = _copy("COPY {} ({}) TO STDOUT", table, columns_of(table))
        driver: Any = self._connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for chunk in copy:
                yield bytes(chunk)

    def chain_head(self) -> dict[str, Any] | None:
        """Return ``{"sequence", "hash"}`` of the newest audit row; None of an empty ledger."""
        return _chain_head(self._connection)

    def findings(self) -> list[str]:
        """Verify the snapshot; see `Ledger.verify`."""
        return all_findings(self._connection)


def replace_rows(
    connection: sa.Connection,
    rows: Mapping[str, tuple[Sequence[str], Iterable[bytes]]],
    *,
    head: Mapping[str, Any] | None,
    replace: bool,
    told: Callable[[str], None],
) -> None:
    """Put `rows` in place of all there are, and check what stands then; the owner's connection.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that holds the ledger's lock; the caller rolls back what this refuses.
    rows : mapping
        Table to its columns and its rows, as `Snapshot.rows` yields them.
    head : mapping or None
        What `Snapshot.chain_head` must be afterwards.
    replace : bool
        Whether a ledger that is not empty may be replaced.
    told : callable
        Is told what comes next: every table, then the verification.

    Raises
    ------
    ContractViolation
        If the ledger is not empty, or what was put in does not verify.
    """
    held = {table.name: _count(connection, table) for table in TABLES}
    if any(held.values()):
        if not replace:
            raise ContractViolation(
                f"the ledger is not empty: {held['books']} books, {held['audit']} audit rows",
                remedy="restore into another home, or give --replace: what stands is backed up first",
            )
        _empty(connection)
    for table in TABLES:
        told(table.name)
        if table.name in rows:
            _copy_in(connection, table, *rows[table.name])
    told("verifying")
    findings = all_findings(connection)
    if (found := _chain_head(connection)) != head:
        findings.insert(0, f"the audit chain ends in {found}, not in {head}")
    if findings:
        raise ContractViolation(
            f"what the backup holds does not verify: {'; '.join(findings[:_NAMED])}; nothing was restored",
            remedy="use another backup",
        )


def _chain_head(connection: sa.Connection) -> dict[str, Any] | None:
    query = sa.select(audit.c.sequence, audit.c.hash).order_by(audit.c.sequence.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else {"sequence": row.sequence, "hash": row.hash}


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def _empty(connection: sa.Connection) -> None:
    names = ", ".join(table.name for table in TABLES)
    for turn in ("DISABLE", "ENABLE"):
        for table in TABLES:
            connection.execute(sa.text(f"ALTER TABLE {table.name} {turn} TRIGGER USER"))
        if turn == "DISABLE":
            connection.execute(sa.text(f"TRUNCATE {names}"))


def _copy_in(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], chunks: Iterable[bytes]
) -> None:
    statement = _copy("COPY {} ({}) FROM STDIN", table.name, columns)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for chunk in chunks:
            copy.write(chunk)


def _copy(text: str, table: str, columns: Sequence[str]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL(text).format(sql.Identifier(table), names)
