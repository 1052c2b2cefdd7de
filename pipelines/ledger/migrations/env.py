"""Alembic runs inside the connection and transaction that `pipelines.ledger.migration` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
