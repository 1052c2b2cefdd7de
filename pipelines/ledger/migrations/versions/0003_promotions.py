"""Why a version became champion, and the evidence for it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("promotions", sa.Column("kind", sa.Text))
    op.add_column("promotions", sa.Column("evidence", JSONB))


def downgrade() -> None:
    raise RuntimeError("a ledger is not taken back; restore a backup instead")
