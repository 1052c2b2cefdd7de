"""The five states of the market by rule, as the lake has them (`features/regimes.py`)."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from pipelines.context import Context
from pipelines.tables import FEATURES, KEY

REGIMES = ("calm", "range", "bull", "bear", "storm")


def read_regimes(
    context: Context, start: datetime, end: datetime, symbols: Sequence[str]
) -> pl.DataFrame:
    """Return the state of each of `symbols` at its bars with `start < known_at <= end`.

    Returns
    -------
    polars.DataFrame
        The key and `regime`, one of `REGIMES`; null where the state's windows are not valid. No rows
        where the feature set has no states by rule.
    """
    flags = {f"regime_{name}": name for name in REGIMES}
    if not set(flags) <= set(context.lake.columns(FEATURES.name)):
        return pl.DataFrame(schema={**FEATURES.schema, "regime": pl.String()})
    columns = (*KEY, *flags)
    read = context.lake.read(FEATURES.name, start=start, end=end, symbols=symbols, columns=columns)
    state = pl.coalesce(pl.when(pl.col(f) == 1).then(pl.lit(name)) for f, name in flags.items())
    return read.filter(pl.col("venue") == context.settings.venue).select(*KEY, regime=state)
