"""The newest comparisons, for a person or a program, and as curves for the daily page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from pipelines.clock import FAR_FUTURE, format_instant
from pipelines.context import Context
from pipelines.tables import COMPARISONS

_POINTS = 240


def list_comparisons(context: Context, as_of: datetime | None = None) -> list[dict[str, Any]]:
    """Return the rows of `comparisons` of the newest look at or before `as_of`, instants as ISO text."""
    frame = newest_look(context.lake.read(COMPARISONS.name, end=as_of or FAR_FUTURE))
    return [
        {**row, **{name: format_instant(row[name]) for name in ("known_at", "since")}}
        for row in frame.iter_rows(named=True)
    ]


def newest_look(comparisons: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the newest instant, returns first, by challenger."""
    newest = comparisons.filter(pl.col("known_at") == pl.col("known_at").max())
    return newest.sort("measure", "challenger", descending=[True, False])


@dataclass(frozen=True)
class Sequence:
    """The confidence sequence of one pair in a chart (SVG points), and the row of its newest look."""

    row: dict[str, Any]
    band: str
    middle: str
    zero: float


def sequences(
    comparisons: pl.DataFrame, start: datetime, end: datetime, width: float, height: float
) -> list[Sequence]:
    """Return a chart of each pair of the newest look: its bounds and mean at every look before.

    Parameters
    ----------
    comparisons : polars.DataFrame
        Rows of the contract with `start < known_at <= end`.
    width, height : float
        Of a chart; time runs from `start` to `end`, values over all that is bounded, and zero.

    Returns
    -------
    list of Sequence
        `band` encloses looks with both bounds, and is empty where there are none; `zero` is the height
        of no difference.
    """
    keys = ["champion", "challenger", "measure"]
    history = comparisons.partition_by(keys, as_dict=True)
    span = (end - start).total_seconds()
    charts = []
    for row in newest_look(comparisons).iter_rows(named=True):
        looks = history[tuple(row[key] for key in keys)].sort("known_at")
        bounded = looks.drop_nulls(["lower", "upper", "mean_difference"])
        bounded = bounded.gather_every(max(1, bounded.height // _POINTS))
        columns = ("lower", "upper", "mean_difference")
        values = [0.0, *(v for name in columns for v in bounded[name])]
        low, high = min(values), max(values)
        reach = (high - low) or 1.0
        x = ((bounded["known_at"] - start).dt.total_seconds() / span * width).to_list()
        down, up, mean = (
            [
                f"{a:.1f},{height - (v - low) / reach * height:.1f}"
                for a, v in zip(x, bounded[name], strict=True)
            ]
            for name in columns
        )
        band = " ".join([*down, *reversed(up)])
        charts.append(Sequence(row, band, " ".join(mean), height + low / reach * height))
    return charts
