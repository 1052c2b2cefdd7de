"""The tables of the paper ledger. PostgreSQL only; `migrations/` builds them, triggers keep them append-only.

Amounts are NUMERIC(38, 8): exact. Prices, weights and rates are double precision: they are facts of
the market or decisions, not money. `known_at` is the close of the bar in which a thing happened.
`recorded_at` is an audit stamp of the wall clock, never read by logic and never part of a hash.

A column that a later migration added stands last in its table; it, and a later table, says `since` which
revision it is there: the digests of hours written before it do not know it (see `digests`).
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

HEAD = "0003"
FIRST = "0001"

metadata = sa.MetaData()

AMOUNT = sa.Numeric(38, 8)
PRICE: sa.Double[float] = sa.Double()
INSTANT = sa.DateTime(timezone=True)


def _later(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    """Return a column that revision 0002 added; null in rows written before."""
    return sa.Column(name, kind, info={"since": "0002"})


def _stamp() -> sa.Column[object]:
    return sa.Column("recorded_at", INSTANT, server_default=sa.func.now(), nullable=False)


books = sa.Table(
    "books",
    metadata,
    sa.Column("book_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("strategy", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text),
    sa.Column("opened_at", INSTANT, nullable=False),
    sa.Column("initial_cash", AMOUNT, nullable=False),
    _stamp(),
)

# What was decided about a book, from an instant on: its terms, a control, its retirement. Of several of
# one kind for one instant the last one (`ordinal`) holds.
book_events = sa.Table(
    "book_events",
    metadata,
    sa.Column("event_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("book_id", UUID(as_uuid=True), sa.ForeignKey("books.book_id"), nullable=False),
    sa.Column("effective_from", INSTANT, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("detail", JSONB, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Text, nullable=False),
    _stamp(),
    sa.Column(
        "ordinal", sa.SmallInteger, nullable=False, server_default="0", info={"since": "0002"}
    ),
)

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("order_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("book_id", UUID(as_uuid=True), sa.ForeignKey("books.book_id"), nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("known_at", INSTANT, nullable=False),
    sa.Column("valid_until", INSTANT, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("side", sa.Text, nullable=False),
    sa.Column("quantity", AMOUNT, nullable=False),
    sa.Column("reference_price", PRICE, nullable=False),
    sa.Column("stop_distance", PRICE, nullable=False),
    sa.Column("target_weight", PRICE, nullable=False),
    # The limit or stop price, 0 of a market order; the rule that shaped it, or `signal`.
    _later("price", PRICE),
    _later("cause", sa.Text()),
)

fills = sa.Table(
    "fills",
    metadata,
    sa.Column("fill_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("order_id", UUID(as_uuid=True), sa.ForeignKey("orders.order_id"), nullable=False),
    sa.Column("book_id", UUID(as_uuid=True), sa.ForeignKey("books.book_id"), nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("known_at", INSTANT, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("side", sa.Text, nullable=False),
    sa.Column("quantity", AMOUNT, nullable=False),
    sa.Column("reference_price", PRICE, nullable=False),
    sa.Column("price", PRICE, nullable=False),
    sa.Column("notional", AMOUNT, nullable=False),
    sa.Column("fee", AMOUNT, nullable=False),
    sa.Column("realised", AMOUNT, nullable=False),
    # Which fill of its book's hour it was, from 0; what it cost, in 1e-4 of the price when decided.
    _later("ordinal", sa.SmallInteger()),
    _later("cause", sa.Text()),
    _later("arrival_price", PRICE),
    _later("spread_bps", PRICE),
    _later("impact_bps", PRICE),
    _later("slippage_bps", PRICE),
    _later("fee_bps", PRICE),
)

# The journal: one row a round trip, written in the hour in which the position is flat again. It was
# entered because of the signal of `signal_at`, which expected the log return `edge`; `mae`, `mfe` and
# `risk_fraction`, the distance of its first stop, are fractions of the entry price.
trades = sa.Table(
    "trades",
    metadata,
    sa.Column("trade_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("book_id", UUID(as_uuid=True), sa.ForeignKey("books.book_id"), nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("known_at", INSTANT, nullable=False),
    sa.Column("signal_at", INSTANT, nullable=False),
    sa.Column("entered_at", INSTANT, nullable=False),
    sa.Column("side", sa.Text, nullable=False),
    sa.Column("bars_held", sa.Integer, nullable=False),
    sa.Column("quantity", AMOUNT, nullable=False),
    sa.Column("entry_price", PRICE, nullable=False),
    sa.Column("exit_price", PRICE, nullable=False),
    sa.Column("invested", AMOUNT, nullable=False),
    sa.Column("realised", AMOUNT, nullable=False),
    sa.Column("fees", AMOUNT, nullable=False),
    sa.Column("funding", AMOUNT, nullable=False),
    sa.Column("mae", PRICE, nullable=False),
    sa.Column("mfe", PRICE, nullable=False),
    sa.Column("risk_fraction", PRICE),
    sa.Column("r_multiple", PRICE),
    sa.Column("edge", PRICE),
    sa.Column("exit_kind", sa.Text, nullable=False),
    sa.Column("exit_cause", sa.Text, nullable=False),
    sa.Column("exit_reason", sa.Text, nullable=False),
    info={"since": "0002"},
)

# One entry (a fill, a funding payment, the opening capital) is several postings that sum to zero per asset.
postings = sa.Table(
    "postings",
    metadata,
    sa.Column("entry_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("asset", sa.Text, primary_key=True),
    sa.Column("book_id", UUID(as_uuid=True), sa.ForeignKey("books.book_id"), nullable=False),
    sa.Column("known_at", INSTANT, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("amount", AMOUNT, nullable=False),
)

equity = sa.Table(
    "equity",
    metadata,
    sa.Column("book_id", UUID(as_uuid=True), sa.ForeignKey("books.book_id"), primary_key=True),
    sa.Column("known_at", INSTANT, primary_key=True),
    sa.Column("equity", AMOUNT, nullable=False),
    sa.Column("cash", AMOUNT, nullable=False),
    sa.Column("exposure", AMOUNT, nullable=False),
    sa.Column("peak", AMOUNT, nullable=False),
    sa.Column("drawdown", PRICE, nullable=False),
    # The engine's whole state at this close: what the next hour starts from.
    sa.Column("state", JSONB, nullable=False),
)

risk_events = sa.Table(
    "risk_events",
    metadata,
    sa.Column("book_id", UUID(as_uuid=True), sa.ForeignKey("books.book_id"), primary_key=True),
    sa.Column("known_at", INSTANT, primary_key=True),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("asked", PRICE, nullable=False),
    sa.Column("allowed", PRICE, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

signals = sa.Table(
    "signals",
    metadata,
    sa.Column("book_id", UUID(as_uuid=True), sa.ForeignKey("books.book_id"), primary_key=True),
    sa.Column("known_at", INSTANT, primary_key=True),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("desired_weight", PRICE, nullable=False),
    sa.Column("target_weight", PRICE),
    sa.Column("expected_return", PRICE),
    sa.Column("sigma", PRICE),
    sa.Column("stop_fraction", PRICE),
)

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("promotion_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("effective_from", INSTANT, nullable=False, unique=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("previous", sa.Text),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Text, nullable=False),
    _stamp(),
    # Why, in one word (`books.Kind`), and the numbers behind it; null in rows of before.
    sa.Column("kind", sa.Text, info={"since": "0003"}),
    sa.Column("evidence", JSONB, info={"since": "0003"}),
)

# Models that are scored without a book, from the bar after `opened_at` on.
shadows = sa.Table(
    "shadows",
    metadata,
    sa.Column("shadow_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("version", sa.Text, nullable=False, unique=True),
    sa.Column("opened_at", INSTANT, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Text, nullable=False),
    _stamp(),
    info={"since": "0003"},
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("known_at", INSTANT, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", JSONB, nullable=False),
    sa.Column("previous_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    _stamp(),
)

# What one traded hour consists of; its digest goes into the audit chain.
HOURLY_TABLES = (orders, fills, postings, equity, risk_events, signals, trades)
