"""The label of every bar of the traded market, as far as the lake knows what followed it."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from pipelines.clock import timeframe_delta
from pipelines.context import Context
from pipelines.tables import KEY
from training.config import LabelConfig
from training.labels import label_bars


def read_labels(
    context: Context,
    label: LabelConfig,
    start: datetime,
    end: datetime,
    symbols: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return the label of every bar with `start < known_at <= end`, from bars known at `end`.

    Parameters
    ----------
    label : LabelConfig
        Of the model whose forecasts are judged; the bars before `start` that its volatility needs are
        read along.
    symbols : sequence of str, optional
        By default all.

    Returns
    -------
    polars.DataFrame
        The key; `outcome` (0 down, 1 flat, 2 up) and `realised_return` [log], null together where
        what followed is not known at `end` or cannot be told; `volatility` [log return per bar], null
        where its window is not valid.
    """
    settings, step = context.settings, timeframe_delta(context.settings.timeframe)
    bars = context.lake.read(
        "bars",
        start=start - label.volatility_window * step,
        end=end,
        symbols=symbols,
        columns=(*KEY, "open", "high", "low", "close"),
    )
    bars = bars.filter(pl.col("venue") == settings.venue)
    labels = label_bars(bars, label, timeframe=step, end=end).filter(pl.col("known_at") > start)
    outcome = pl.col("label").cast(pl.Int64) + 1
    return labels.select(*KEY, "realised_return", "volatility", outcome=outcome)
