"""What scores were worth once their outcomes were known, for a person or a program."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from evaluation.outcomes import forecast_errors
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.tables import OUTCOMES


def list_outcomes(
    context: Context, as_of: datetime, by: Sequence[str], model: str | None = None
) -> list[dict[str, Any]]:
    """Return the errors of all pairs closed by an instant, by group, weeks as ISO text of their Monday.

    Raises
    ------
    ConfigError
        If a group is not known, or no score of the model was closed yet.
    """
    outcomes = context.lake.read(OUTCOMES.name, end=as_of)
    outcomes = outcomes.filter(pl.col("venue") == context.settings.venue)
    if model is not None:
        known = outcomes["model_version"].unique().to_list()
        outcomes = outcomes.filter(pl.col("model_version") == model)
        if outcomes.is_empty():
            raise ConfigError(
                f"no score of model version {model!r} is closed yet",
                remedy=f"closed are those of {', '.join(sorted(known)) or 'none'}; "
                "`hourglass close-outcomes` closes what is due",
            )
    try:
        rows = forecast_errors(outcomes, by).to_dicts()
    except ValueError as error:
        raise ConfigError(str(error), remedy="e.g. --by model,symbol,regime,week") from error
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
