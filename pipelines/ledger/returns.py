"""What a book earned bar by bar, as the ledger wrote it down, and at which share of its limits."""

from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl
import sqlalchemy as sa

_EQUITY = sa.text(
    """
    SELECT known_at, equity::float8 AS equity, (state->'conduct'->>'ramp_steps')::int AS ramp_steps
    FROM equity WHERE book_id = :book AND known_at <= :end ORDER BY known_at
    """
)
_TERMS = sa.text(
    """
    SELECT DISTINCT ON (effective_from) effective_from,
        (detail->'risk'->>'ramp_start')::float8 AS ramp_start,
        (detail->'risk'->>'ramp_step')::float8 AS ramp_step
    FROM book_events WHERE book_id = :book AND kind = 'terms'
    ORDER BY effective_from, ordinal DESC
    """
)
_FILLS = sa.text("SELECT count(*) FROM fills WHERE book_id = :book AND known_at <= :end")
_INSTANT = pl.Datetime("us", "UTC")


def read_returns(
    connection: sa.Connection, book_id: UUID, initial_cash: float, end: datetime
) -> tuple[pl.DataFrame, int]:
    """Return the bars a book traded up to `end`, in order of time, and how many fills it had.

    Returns
    -------
    frame : polars.DataFrame
        `known_at`; `log_return` of the equity over the bar, after all costs; `share` of its limits in
        (0, 1] that the capital ramp allowed when the bar's orders were decided, which is at the close
        before. Hours written before there was a ramp have share 1.
    fills : int
    """
    span = {"book": book_id, "end": end}
    equity = _frame(
        connection.execute(_EQUITY, span),
        {"known_at": _INSTANT, "equity": pl.Float64(), "ramp_steps": pl.Int64()},
    )
    terms = _frame(
        connection.execute(_TERMS, {"book": book_id}),
        {"effective_from": _INSTANT, "ramp_start": pl.Float64(), "ramp_step": pl.Float64()},
    )
    fills = int(connection.scalar(_FILLS, span) or 0)
    agreed = equity.join_asof(terms, left_on="known_at", right_on="effective_from")
    at_close = pl.min_horizontal(
        pl.col("ramp_start").fill_null(1.0)
        + pl.col("ramp_steps").fill_null(0) * pl.col("ramp_step").fill_null(0.0),
        pl.lit(1.0),
    )
    before = pl.col("equity").shift(1, fill_value=initial_cash)
    return agreed.select(
        "known_at",
        log_return=(pl.col("equity") / before).log(),
        share=at_close.shift(1).fill_null(pl.lit(1.0)),
    ), fills


def _frame(rows: Any, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
