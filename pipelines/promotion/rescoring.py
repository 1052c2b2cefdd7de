"""Whether the scores on file come out again: the same features, the same model, the same numbers."""

from datetime import datetime, timedelta

import polars as pl

from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.errors import ContractViolation
from pipelines.quality.refusals import without_refused
from pipelines.tables import KEY
from serving.scorer import first_needed, score_after

_DAY = timedelta(days=1)
_COMPARED = ("p_down", "p_flat", "p_up", "expected_return", "lower", "upper")


def largest_score_difference(context: Context, version: str, as_of: datetime) -> float:
    """Score the last day again and return by how much any number differs from the one on file.

    Raises
    ------
    ContractViolation
        If the version cannot be loaded, or scored nothing in that day.
    """
    settings, scorer = context.settings, context.registry.load(version)
    start = as_of - _DAY
    first = first_needed(scorer, start)
    features = context.lake.read("features", start=first, end=as_of, symbols=settings.universe)
    features = without_refused(context.lake, features.filter(pl.col("venue") == settings.venue))
    again = score_after(scorer, features, start)
    filed = context.lake.read("scores", start=start, end=as_of)
    filed = filed.filter(pl.col("model_version") == version)
    both = filed.join(again, on=KEY, suffix="_again")
    if both.is_empty() or both.height < filed.height:
        raise ContractViolation(
            f"of {filed.height} scores of version {version} in the day before {format_instant(as_of)} "
            f"{both.height} could be made again",
            remedy="run build-features and score-bars for its hours",
        )
    differences = [(pl.col(c) - pl.col(f"{c}_again")).abs().max() for c in _COMPARED]
    return float(both.select(pl.max_horizontal(differences)).item())
