"""The ledger: books, orders, fills, double-entry postings, equity, risk events, signals, promotions, audit."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "0001"
down_revision = None

AMOUNT = sa.Numeric(38, 8)
INSTANT = sa.DateTime(timezone=True)
TABLES = (
    "books",
    "book_events",
    "orders",
    "fills",
    "postings",
    "equity",
    "risk_events",
    "signals",
    "promotions",
    "audit",
)


def _id(name: str, **options: object) -> sa.Column:
    return sa.Column(name, UUID(as_uuid=True), **options)


def _book(**options: object) -> sa.Column:
    return sa.Column(
        "book_id", UUID(as_uuid=True), sa.ForeignKey("books.book_id"), nullable=False, **options
    )


def _text(name: str, **options: object) -> sa.Column:
    return sa.Column(name, sa.Text, **{"nullable": False, **options})


def _instant(name: str = "known_at", **options: object) -> sa.Column:
    return sa.Column(name, INSTANT, nullable=False, **options)


def _amount(name: str) -> sa.Column:
    return sa.Column(name, AMOUNT, nullable=False)


def _double(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Double, nullable=nullable)


def _stamp() -> sa.Column:
    return sa.Column("recorded_at", INSTANT, server_default=sa.func.now(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "books",
        _id("book_id", primary_key=True),
        _text("name", unique=True),
        _text("strategy"),
        _text("model_version", nullable=True),
        _instant("opened_at"),
        _amount("initial_cash"),
        _stamp(),
        sa.CheckConstraint("initial_cash > 0", name="capital_is_positive"),
        sa.CheckConstraint(
            "(strategy = 'model') = (model_version IS NOT NULL)", name="a_model_book_has_a_version"
        ),
    )
    op.create_table(
        "book_events",
        _id("event_id", primary_key=True),
        _book(),
        _instant("effective_from"),
        _text("kind"),
        sa.Column("detail", JSONB, nullable=False),
        _text("reason"),
        _text("decided_by"),
        _stamp(),
        sa.UniqueConstraint("book_id", "kind", "effective_from", name="one_event_an_instant"),
    )
    op.create_table(
        "orders",
        _id("order_id", primary_key=True),
        _book(),
        _text("symbol"),
        _instant(),
        _instant("valid_until"),
        _text("kind"),
        _text("side"),
        _amount("quantity"),
        _double("reference_price"),
        _double("stop_distance"),
        _double("target_weight"),
        sa.CheckConstraint("quantity > 0", name="order_quantity_is_positive"),
        sa.CheckConstraint("side IN ('buy', 'sell')", name="order_side"),
    )
    op.create_table(
        "fills",
        _id("fill_id", primary_key=True),
        sa.Column(
            "order_id", UUID(as_uuid=True), sa.ForeignKey("orders.order_id"), nullable=False
        ),
        _book(),
        _text("symbol"),
        _instant(),
        _text("kind"),
        _text("side"),
        _amount("quantity"),
        _double("reference_price"),
        _double("price"),
        _amount("notional"),
        _amount("fee"),
        _amount("realised"),
        sa.CheckConstraint("quantity > 0 AND price > 0", name="fill_is_positive"),
        sa.CheckConstraint("side IN ('buy', 'sell')", name="fill_side"),
    )
    op.create_table(
        "postings",
        _id("entry_id", primary_key=True),
        _text("account", primary_key=True),
        _text("asset", primary_key=True),
        _book(),
        _instant(),
        _text("kind"),
        _amount("amount"),
    )
    op.create_table(
        "equity",
        _book(primary_key=True),
        _instant(primary_key=True),
        _amount("equity"),
        _amount("cash"),
        _amount("exposure"),
        _amount("peak"),
        _double("drawdown"),
        sa.Column("state", JSONB, nullable=False),
        sa.CheckConstraint("equity = cash + exposure", name="equity_is_cash_and_positions"),
    )
    op.create_table(
        "risk_events",
        _book(primary_key=True),
        _instant(primary_key=True),
        _text("symbol", primary_key=True),
        _text("rule", primary_key=True),
        _double("asked"),
        _double("allowed"),
        _text("reason"),
    )
    op.create_table(
        "signals",
        _book(primary_key=True),
        _instant(primary_key=True),
        _text("symbol", primary_key=True),
        _double("desired_weight"),
        _double("target_weight", nullable=True),
        _double("expected_return", nullable=True),
        _double("sigma", nullable=True),
        _double("stop_fraction", nullable=True),
    )
    op.create_table(
        "promotions",
        _id("promotion_id", primary_key=True),
        _instant("effective_from", unique=True),
        _text("version"),
        _text("previous", nullable=True),
        _text("reason"),
        _text("decided_by"),
        _stamp(),
    )
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        _instant(),
        _text("kind"),
        sa.Column("payload", JSONB, nullable=False),
        _text("previous_hash"),
        _text("hash", unique=True),
        _stamp(),
    )
    for table in ("orders", "fills", "postings"):
        op.create_index(f"{table}_by_book", table, ["book_id", "known_at"])
    op.create_index("equity_by_hour", "equity", ["known_at"])
    op.create_index("risk_events_by_hour", "risk_events", ["known_at"])
    op.create_index("signals_by_hour", "signals", ["known_at"])
    _make_append_only()


def _make_append_only() -> None:
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the ledger is append-only: % of % is refused; write a correcting row instead',
                TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    raise RuntimeError("a ledger is not taken back; restore a backup instead")
