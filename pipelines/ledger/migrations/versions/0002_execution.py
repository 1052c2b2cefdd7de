"""What an execution cost, the journal of trades, several decisions about a book for one instant."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "0002"
down_revision = "0001"

AMOUNT = sa.Numeric(38, 8)
INSTANT = sa.DateTime(timezone=True)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text, nullable=False)


def _instant(name: str) -> sa.Column:
    return sa.Column(name, INSTANT, nullable=False)


def _amount(name: str) -> sa.Column:
    return sa.Column(name, AMOUNT, nullable=False)


def _double(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Double, nullable=nullable)


def upgrade() -> None:
    op.add_column(
        "book_events",
        sa.Column("ordinal", sa.SmallInteger, nullable=False, server_default="0"),
    )
    op.drop_constraint("one_event_an_instant", "book_events")
    op.create_unique_constraint(
        "one_event_a_place", "book_events", ["book_id", "kind", "effective_from", "ordinal"]
    )
    op.add_column("orders", _double("price", nullable=True))
    op.add_column("orders", sa.Column("cause", sa.Text))
    op.add_column("fills", sa.Column("ordinal", sa.SmallInteger))
    op.add_column("fills", sa.Column("cause", sa.Text))
    for name in ("arrival_price", "spread_bps", "impact_bps", "slippage_bps", "fee_bps"):
        op.add_column("fills", _double(name, nullable=True))
    _create_trades()


def _create_trades() -> None:
    op.create_table(
        "trades",
        sa.Column("trade_id", UUID(as_uuid=True), primary_key=True),
        sa.Column("book_id", UUID(as_uuid=True), sa.ForeignKey("books.book_id"), nullable=False),
        _text("symbol"),
        *map(_instant, ("known_at", "signal_at", "entered_at")),
        _text("side"),
        sa.Column("bars_held", sa.Integer, nullable=False),
        _amount("quantity"),
        *map(_double, ("entry_price", "exit_price")),
        *map(_amount, ("invested", "realised", "fees", "funding")),
        *map(_double, ("mae", "mfe")),
        *(_double(name, nullable=True) for name in ("risk_fraction", "r_multiple", "edge")),
        *map(_text, ("exit_kind", "exit_cause", "exit_reason")),
        sa.CheckConstraint("side IN ('long', 'short')", name="trade_side"),
        sa.CheckConstraint("quantity > 0 AND bars_held >= 0", name="trade_is_positive"),
        sa.CheckConstraint(
            "signal_at < entered_at AND entered_at <= known_at", name="trade_is_in_order"
        ),
        sa.CheckConstraint("mae <= 0 AND mfe >= 0", name="excursions_have_signs"),
    )
    op.create_index("trades_by_book", "trades", ["book_id", "known_at"])
    op.execute(
        "CREATE TRIGGER trades_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trades "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    raise RuntimeError("a ledger is not taken back; restore a backup instead")
