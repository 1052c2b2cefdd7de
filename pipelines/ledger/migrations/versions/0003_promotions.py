"""Why a version became champion, with the evidence for it; models that are scored without a book."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("promotions", sa.Column("kind", sa.Text))
    op.add_column("promotions", sa.Column("evidence", JSONB))
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "shadows",
        sa.Column("shadow_id", UUID(as_uuid=True), primary_key=True),
        sa.Column("version", sa.Text, nullable=False, unique=True),
        sa.Column("opened_at", instant, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("recorded_at", instant, server_default=sa.func.now(), nullable=False),
    )
    op.execute(
        "CREATE TRIGGER shadows_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shadows "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    raise RuntimeError("a ledger is not taken back; restore a backup instead")
