"""Where the books' profit and loss came from, for a person, a program and the page of outcomes."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from evaluation.attribution import attribute, round_trips
from pipelines.clock import timeframe_delta
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.rule_regimes import read_regimes


def read_round_trips(context: Context, as_of: datetime, book: str | None = None) -> pl.DataFrame:
    """Return every round trip of one book, or of all, with the regime at its signal.

    Raises
    ------
    ContractViolation
        If they are not, to the last 1e-8, what the equity of every book changed by.
    """
    try:
        trips = round_trips(*context.ledger.profits(as_of, book))
    except ValueError as error:
        raise ContractViolation(
            f"the ledger does not add up: {error}; nothing was attributed",
            remedy="run `hourglass verify`, and restore the ledger from a backup if it agrees",
        ) from error
    if trips.is_empty():
        return trips.with_columns(regime=pl.lit(None, pl.String()))
    first, last = trips["signal_at"].min(), trips["signal_at"].max()
    start = first - timeframe_delta(context.settings.timeframe)  # type: ignore[operator]
    symbols = trips["symbol"].unique().sort().to_list()
    regimes = read_regimes(context, start, last, symbols)  # type: ignore[arg-type]
    at_signal = regimes.select("symbol", "regime", signal_at="known_at")
    return trips.join(at_signal, on=["symbol", "signal_at"], how="left", maintain_order="left")


def list_attribution(
    context: Context, as_of: datetime, by: Sequence[str], book: str | None = None
) -> list[dict[str, Any]]:
    """Return profit and loss by group as of an instant, amounts as text: they are exact.

    Raises
    ------
    ConfigError
        If a group or the book is not known.
    ContractViolation
        As `read_round_trips`.
    """
    trips = read_round_trips(context, as_of, book)
    try:
        rows = attribute(trips, by)
    except ValueError as error:
        raise ConfigError(str(error), remedy="e.g. --by book,symbol,side,regime") from error
    return [{name: _plain(value) for name, value in row.items()} for row in rows.to_dicts()]


def _plain(value: Any) -> Any:
    return format(value, "f") if isinstance(value, Decimal) else value
