"""Bring a ledger database to the newest schema; safe with several processes, cheap when it is there."""

import sqlalchemy as sa

from pipelines.errors import ContractViolation
from pipelines.ledger.rights import has_writer, make_writer
from pipelines.ledger.schema import HEAD

# One writer at a time: migrations and traded hours take this lock for their transaction.
LEDGER_LOCK = 7_203_114_881


def lock_ledger(connection: sa.Connection) -> None:
    """Wait until no other transaction writes to this ledger; released with the transaction."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LEDGER_LOCK})


def migrate(engine: sa.Engine) -> bool:
    """Run the migrations that are missing, in one transaction, under the ledger's lock.

    Returns
    -------
    bool
        Whether the writer's role (`rights.WRITER`) stands and this login can take it.

    Raises
    ------
    ContractViolation
        If the database was written by a newer Hourglass.
    """
    with engine.begin() as connection:
        if _revision(connection) == HEAD and has_writer(connection):
            return True
        lock_ledger(connection)
        found = _revision(connection)
        if found is not None and found > HEAD:
            raise ContractViolation(
                f"the ledger has schema {found}, this Hourglass knows up to {HEAD}",
                remedy="run the newer version, or restore a backup of before it",
            )
        if found != HEAD:
            _upgrade(connection)
        return has_writer(connection) or make_writer(connection)


def _revision(connection: sa.Connection) -> str | None:
    if connection.scalar(sa.text("SELECT to_regclass('alembic_version')")) is None:
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "pipelines.ledger:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
