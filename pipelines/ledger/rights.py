"""Who may do what in the ledger's database: its writer may read and append, and nothing else.

The login that migrates owns the tables. Everything else connects in the role `hourglass_writer`,
which holds SELECT and INSERT on them: there UPDATE, DELETE and TRUNCATE are refused by right, even
where somebody switched the append-only triggers off.
"""

import sqlalchemy as sa

from pipelines.ledger.schema import metadata

WRITER = "hourglass_writer"

_ROLE_EXISTS = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :role")
# The role is the whole server's: the ledger of another database may be making it at this moment.
_CREATE = sa.text(
    f"DO $$ BEGIN CREATE ROLE {WRITER} NOLOGIN; "
    "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
)
# True of a superuser too. The creator of a role administers it, and is no member until it says so.
_MEMBER = sa.text("SELECT pg_has_role(current_user, CAST(:role AS text), 'USAGE')")
_RIGHTS = sa.text(
    """
    SELECT bool_and(has_table_privilege(CAST(:role AS text), name, 'SELECT')
        AND has_table_privilege(CAST(:role AS text), name, 'INSERT')
        AND NOT has_table_privilege(CAST(:role AS text), name, 'UPDATE')
        AND NOT has_table_privilege(CAST(:role AS text), name, 'DELETE')
        AND NOT has_table_privilege(CAST(:role AS text), name, 'TRUNCATE'))
    FROM unnest(CAST(:tables AS text[])) AS name
    """
)


def has_writer(connection: sa.Connection) -> bool:
    """Say whether this login can take the writer's role, and that role may append and no more."""
    if connection.scalar(_ROLE_EXISTS, {"role": WRITER}) is None:
        return False
    tables = {"role": WRITER, "tables": list(metadata.tables)}
    if not connection.scalar(_RIGHTS, tables):
        return False
    try:
        with connection.begin_nested():
            connection.execute(sa.text(f"SET LOCAL ROLE {WRITER}"))
            connection.execute(sa.text("RESET ROLE"))
    except sa.exc.ProgrammingError:
        return False
    return True


def make_writer(connection: sa.Connection) -> bool:
    """Create the writer's role where it is missing and give it its rights; say whether it stands.

    False where this login may not create roles: then only the triggers keep the tables append-only.
    The caller holds the ledger's lock.
    """
    tables = ", ".join(metadata.tables)
    try:
        with connection.begin_nested():
            if connection.scalar(_ROLE_EXISTS, {"role": WRITER}) is None:
                connection.execute(_CREATE)
            if not connection.scalar(_MEMBER, {"role": WRITER}):
                connection.execute(sa.text(f"GRANT {WRITER} TO CURRENT_USER"))
            connection.execute(sa.text(f"REVOKE ALL ON {tables} FROM {WRITER}"))
            connection.execute(sa.text(f"GRANT SELECT, INSERT ON {tables} TO {WRITER}"))
            connection.execute(sa.text(f"GRANT SELECT ON alembic_version TO {WRITER}"))
    except sa.exc.ProgrammingError:
        return False
    return has_writer(connection)
