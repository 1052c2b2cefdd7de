"""What a book earned bar by bar, as the ledger wrote it down, and at which share of its limits."""

from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
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
_FILLS = sa.text(
    """
    SELECT count(*) FROM fills WHERE book_id = :book AND known_at <= :end
        AND known_at > coalesce(:start, '-infinity'::timestamptz)
    """
)
_CURVE = sa.text(
    """
    SELECT equity::float8 FROM equity WHERE book_id = :book AND known_at BETWEEN :start AND :end
    ORDER BY known_at
    """
)
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
    fills = count_fills(connection, book_id, None, end)
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


def count_fills(
    connection: sa.Connection, book_id: UUID, start: datetime | None, end: datetime
) -> int:
    """Return how many fills a book had with `start < known_at <= end`; without `start`, up to `end`."""
    return int(connection.scalar(_FILLS, {"book": book_id, "start": start, "end": end}) or 0)


def read_curve(
    connection: sa.Connection, book_id: UUID, start: datetime, end: datetime
) -> npt.NDArray[np.float64]:
    """Return a book's equity at every close from `start` to `end`, both included; quote currency."""
    span = {"book": book_id, "start": start, "end": end}
    return np.array(connection.scalars(_CURVE, span).all(), np.float64)


def _frame(rows: Any, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
